"""How rate and replicas move with cache format, block size and shared prefix."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from planner.deployment import Deployment
from planner.errors import SizewellError
from planner.serving.metrics import Slo
from planner.serving.objective import Traffic, highest_rate
from planner.serving.replica import Replica
from planner.units import ceil_div

KV_FORMATS = ("auto", "fp8", "int4_per_token_head")
BLOCK_SIZES = (16, 64, 256)
PREFIX_TOKENS = (0, 512, 2048)


@dataclass(frozen=True, slots=True)
class Moved:
    """One change: the highest rate of one replica, and replicas for the asked rate by it.

    Both are 0 where `refused` says why.
    """

    change: str
    value: str
    rate: float
    replicas: int
    refused: str = ""


def variants(base: Deployment) -> Iterator[tuple[str, str, Deployment, int]]:
    """(change, value, deployment, shared prefix tokens), the base's own choices among them."""
    for name in dict.fromkeys((base.kv_cache_dtype, *KV_FORMATS)):
        yield "KV cache", name, base.replace(kv_cache_dtype=name), 0
    for size in dict.fromkeys((base.block_size, *BLOCK_SIZES)):
        yield "Block size", f"{size} tokens", base.replace(block_size=size), 0
    for tokens in PREFIX_TOKENS:
        yield "Shared prefix", f"{tokens:,} tokens", base, tokens


def sensitivity(
    make: Callable[[Deployment], Replica],
    base: Deployment,
    traffic: Callable[[int], Traffic],
    slo: Slo,
    rate: float,
) -> Iterable[Moved]:
    """One row per variant. traffic(shared tokens): the requests with so many in common at their
    beginning."""
    for change, value, deployment, shared in variants(base):
        try:
            found = highest_rate(make(deployment), traffic(shared), slo, precision=0.05)
        except SizewellError as error:
            yield Moved(change, value, 0.0, 0, str(error))
            continue
        needed = ceil_div(round(rate * 1e6), max(1, round(found * 1e6))) if found else 0
        yield Moved(change, value, found, needed, "" if found else "no rate holds the SLO")
