"""How rate, replicas and times move with cache format, blocks, shared prefix and prompt chunks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from planner.deployment import Deployment
from planner.errors import SizewellError
from planner.serving.metrics import Slo
from planner.serving.objective import Traffic, highest_rate
from planner.serving.replica import Replica
from planner.serving.simulator import Result, simulate
from planner.units import ceil_div, counted

KV_FORMATS = ("auto", "fp8", "int4_per_token_head")
BLOCK_SIZES = (16, 64, 256)
PREFIX_TOKENS = (0, 512, 2048)
CHUNKS = (512, 2048, 8192)
"""max_num_batched_tokens: a prompt longer than what answers leave of it is computed in chunks."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One change: the highest rate of one replica, and replicas for the asked rate by it.

    Both are 0 where `refused` says why. ttft_p95_s, tpot_p95_s: of one replica at the asked rate,
    None where nothing is served.
    """

    change: str
    value: str
    rate: float
    replicas: int
    refused: str = ""
    ttft_p95_s: float | None = None
    tpot_p95_s: float | None = None

    @property
    def times(self) -> tuple[str, str]:
        """TTFT and TPOT with their units; nothing where there are none."""
        ttft = "" if self.ttft_p95_s is None else f"{self.ttft_p95_s:,.2f} s"
        return ttft, "" if self.tpot_p95_s is None else f"{1e3 * self.tpot_p95_s:,.1f} ms"


def variants(base: Deployment) -> Iterator[tuple[str, str, Deployment, int]]:
    """(change, value, deployment, shared prefix tokens), the base's own choices among them."""
    for name in dict.fromkeys((base.kv_cache_dtype, *KV_FORMATS)):
        yield "KV cache", name, base.replace(kv_cache_dtype=name), 0
    for size in dict.fromkeys((base.block_size, *BLOCK_SIZES)):
        yield "Block size", f"{size} tokens", base.replace(block_size=size), 0
    for tokens in PREFIX_TOKENS:
        yield "Shared prefix", f"{tokens:,} tokens", base, tokens
    for tokens in sorted({base.max_num_batched_tokens, *CHUNKS}):
        changed = base.replace(max_num_batched_tokens=tokens)
        yield "Tokens a step", f"{tokens:,}", changed, 0


def sensitivity(
    make: Callable[[Deployment], Replica],
    base: Deployment,
    traffic: Callable[[int], Traffic],
    slo: Slo,
    rate: float,
) -> Iterable[Moved]:
    """One row per variant. traffic(shared tokens): the requests with so many in common at their
    beginning."""

    @cache
    def tried(deployment: Deployment, shared: int) -> tuple[float, Result]:
        one, drawn = make(deployment), traffic(shared)
        return highest_rate(one, drawn, slo, precision=0.05), simulate(drawn(rate, 0), one, slo=slo)

    for change, value, deployment, shared in variants(base):
        try:
            found, asked = tried(deployment, shared)
        except SizewellError as error:
            yield Moved(change, value, 0.0, 0, str(error))
            continue
        needed = ceil_div(round(rate * 1e6), max(1, round(found * 1e6))) if found else 0
        yield Moved(
            change, value, found, needed, "" if found else "no rate holds the SLO",
            asked.ttft.quantile(0.95) if asked.ttft.count else None,
            asked.tpot.quantile(0.95) if asked.tpot.count else None,
        )  # fmt: skip


def as_text(rows: Sequence[Moved], rate: float) -> str:
    """For a terminal."""
    lines = [f"What moves the highest rate of one replica, and p95 times of one at {rate:g}/s:"]
    for row in rows:
        name = f"  {row.change + ' ' + row.value:<30}"
        if not row.rate and row.ttft_p95_s is None:
            lines.append(f"{name} refused: {row.refused}")
            continue
        highest = f"{row.rate:8,.2f}/s, {counted(row.replicas, 'replica')} for {rate:g}/s"
        ttft, tpot = row.times
        lines.append(
            f"{name} {highest if row.rate else row.refused}; TTFT {ttft or 'none'}, TPOT "
            f"{tpot or 'none'}"
        )
    return "\n".join(lines) + "\n"
