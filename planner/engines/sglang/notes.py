"""What SGLang's figures leave unsaid."""

from collections.abc import Mapping

from planner.engines.sglang.options import Settings
from planner.engines.sglang.pool import Cell, SglangPool
from planner.estimate import Estimate
from planner.hardware import Gpu
from planner.units import GIB


def notes(
    pool: SglangPool,
    cell: Cell,
    settings: Settings,
    outside: Mapping[str, Estimate],
    gpu: Gpu,
) -> tuple[str, ...]:
    """What the figures leave unsaid."""
    free = gpu.memory_bytes - outside["before"].bytes
    slack = free - int(free * settings.mem_fraction_static)
    needed = sum(part.bytes for name, part in outside.items() if name != "before")
    found = [
        f"The fraction leaves {slack / GIB:.2f} GiB for activations, graphs and tables, of which "
        f"about {needed / GIB:.2f} GiB are needed."
    ]
    if needed > slack:
        found.append("That is more than is left: lower --mem-fraction-static.")
    if pool.tokens and pool.tokens < settings.context_length:
        found.append(
            f"A request longer than the pool of {pool.tokens:,} tokens is refused when it arrives."
        )
    if pool.sliding_tokens:
        found.append(f"Sliding layers have a pool of {pool.sliding_tokens:,} tokens of their own.")
    elif cell.sliding and not cell.full:
        found.append("All layers slide, and SGLang caches them like full ones.")
    if pool.states:
        found.append(
            f"{pool.states:,} states, {pool.states_per_request} a request: at most "
            f"{pool.states // pool.states_per_request:,} requests run at once."
        )
    return tuple(found)
