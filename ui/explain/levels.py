"""The levels of memory of the plan's card: how much each holds, and how fast it is read."""

from planner.attention import Heads
from planner.lessons.hierarchy import SHARED_BYTES_PER_CLOCK, Level, levels
from planner.plan import Plan
from planner.units import format_bytes
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark


def show(plan: Plan, heads: Heads) -> None:
    parts.idea(
        "Near and small, far and large",
        "A kernel computes in registers and passes tiles through shared memory. What does not fit "
        "there comes from the L2 cache or from device memory, which is the slowest to read.",
    )
    gpu, found = plan.gpu, levels(plan.gpu)
    width = 2 * (heads.score_dim + heads.value_dim)
    parts.formula(*_rates(plan, found), f"K and V of one head: {width} B a token")
    chart = charts.bars(
        [level.name for level in found],
        {"size": [level.bytes for level in found]},
        "Size on the whole card (log scale)",
        dark=dark(),
        labels=[[_label(level) for level in found]],
        xaxis={"type": "log", "range": [5, 14], "showticklabels": False, "showgrid": False},
    )
    rows = [
        [
            level.name,
            "shared" if level.each_bytes is None else format_bytes(level.each_bytes),
            format_bytes(level.bytes),
            _rate(level) or "no figure",
            f"{level.tokens(width):,}",
        ]
        for level in found
    ]
    table = html_table(
        ("Level", "One multiprocessor", "Whole card", "Reads", "Tokens of one head"), rows,
        numeric=range(1, 5), stack=True,
    )  # fmt: skip
    alt = f"Bars of the memory of {gpu.name}: " + ", ".join(
        f"{level.name} {_label(level)}" for level in found
    )
    parts.figure(chart, "explain_levels", f"{alt}.", table, below=True)
    parts.note(
        "Tokens of one head: as many keys and values as one multiprocessor's part holds, or the "
        "whole cache or memory. A rate that no data gives and nothing derives is left out."
    )


def _rates(plan: Plan, found: tuple[Level, ...]) -> list[str]:
    """How the rate of shared memory comes about, and how far the device memory is behind it."""
    gpu = plan.gpu
    shared = next((v for v in found if v.name == "Shared memory" and v.bytes_per_s), None)
    if shared is None or shared.bytes_per_s is None or gpu.boost_clock_hz is None:
        return []
    lines = [
        f"Shared memory: {gpu.sm_count} multiprocessors × {SHARED_BYTES_PER_CLOCK} B × "
        f"{gpu.boost_clock_hz / 1e9:.2f} GHz = {_rate(shared)}"
    ]
    if found[-1].bytes_per_s is not None:
        ratio = shared.bytes_per_s / found[-1].bytes_per_s
        lines.append(f"Device memory: {_rate(found[-1])}, {parts.times(ratio)} less")
    return lines


def _rate(level: Level) -> str:
    return "" if level.bytes_per_s is None else f"{level.bytes_per_s / 1e12:.3g} TB/s"


def _label(level: Level) -> str:
    rate = _rate(level)
    return format_bytes(level.bytes) + (f", {rate}" if rate else "")
