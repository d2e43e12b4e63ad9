"""How long one step of a batch takes: the latency model, tabulated once for a deployment.

A step is everything but attention for all its rows, attention of the running answers, and attention
of each prompt chunk. The tables hold the latency model's own times at powers of two (and their
half-way points); between them times are interpolated, attention of chunks by its rate.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from planner.deployment import Deployment
from planner.hardware import Gpu
from planner.memo import memo
from planner.model import Model
from planner.timing.breakdown import LAUNCH_S, timer
from planner.timing.passes import StagePass, Timer, _stages, decode_pass, distinct
from planner.timing.speed import Speed
from planner.units import ceil_div

Chunk = tuple[int, int]
"""Prompt tokens of one request in a step, and the context at their end."""


class Clock(Protocol):
    """What the scheduler asks about time."""

    def decode_s(self, sequences: int, context: float) -> float:
        """A step of so many answers, each reading `context` tokens on average."""
        ...

    def mixed_s(self, sequences: int, context: float, chunks: Sequence[Chunk]) -> float:
        """A step of so many answers and of prompt chunks beside them."""
        ...


@dataclass(slots=True)
class Table:
    """Values at rising points, straight lines between them and beyond the last."""

    at: list[float]
    values: list[float]

    def __call__(self, x: float) -> float:
        at = self.at
        i = bisect_left(at, x, 1, len(at) - 1)
        low, value = at[i - 1], self.values[i - 1]
        return value + (x - low) / (at[i] - low) * (self.values[i] - value)


class StepClock:
    """The Clock of a plan's latency model.

    decode_rest, chunk_rest: all but attention, by sequences and by prompt tokens; head: what the
    output head takes for so many tokens; tokens: those of each answer in a step; attention: of
    answers; chunk_rates: attention of a chunk per pair of tokens, each a table by context.
    """

    def __init__(
        self,
        decode_rest: Table,
        chunk_rest: Table,
        head: Table,
        attention: Callable[[int], Table],
        chunk_rates: list[tuple[int, Table]],
        least_s: float,
        tokens: int = 1,
    ) -> None:
        self._decode_rest = decode_rest
        self._chunk_rest = chunk_rest
        self._head = head
        self._attention = attention
        self._rates = chunk_rates
        self._least_s = least_s
        self._tokens = tokens
        self._rows: dict[int, tuple[float, Table]] = {}

    def _row(self, sequences: int) -> tuple[float, Table]:
        found = self._rows.get(sequences)
        if found is None:
            found = (self._decode_rest(sequences), self._attention(sequences))
            self._rows[sequences] = found
        return found

    def decode_s(self, sequences: int, context: float) -> float:
        rest, attention = self._row(sequences)
        found = rest + attention(context)
        return found if found > self._least_s else self._least_s

    def mixed_s(self, sequences: int, context: float, chunks: Sequence[Chunk]) -> float:
        rows = sequences * self._tokens
        found = 0.0
        for tokens, reach in chunks:
            rows += tokens
            found += self.chunk_attention_s(tokens, reach)
        found += self._chunk_rest(rows)
        heads = sequences * self._tokens + len(chunks)
        if heads > 1:
            found += max(0.0, self._head(heads) - self._head(1))
        if sequences:
            found += self._row(sequences)[1](context)
        return max(found, self._least_s)

    def chunk_attention_s(self, tokens: int, reach: int) -> float:
        """Attention of one chunk: its pairs of tokens at the rate of chunks like it."""
        rates = self._rates
        i = min(max((tokens - 1).bit_length(), 1), len(rates) - 1)
        (low, below), (high, above) = rates[i - 1], rates[i]
        part = min(1.0, max(0.0, (tokens - low) / (high - low)))
        rate = below(reach) + part * (above(reach) - below(reach))
        return max(0.0, rate) * pairs(tokens, reach)


def pairs(tokens: int, reach: int) -> float:
    """Pairs of a query and a key in causal attention of the last `tokens` of `reach`."""
    return tokens * (reach - tokens / 2)


def powers(most: int, *, halves: bool = False) -> list[int]:
    """1, 2, 4 ... up to the first that is not below `most`; halves: 3, 6, 12 ... between them."""
    found = [1]
    while found[-1] < most:
        found.append(2 * found[-1])
    if halves:
        found += [3 * n // 2 for n in found[1:-1]]
    return sorted(found)


@memo(maxsize=64)
def step_clock(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    speed: Speed,
    max_num_seqs: int,
    max_model_len: int,
    tokens: int = 1,
) -> StepClock:
    """The clock of one replica, for batches and lengths up to those given.

    tokens: of each answer in a step, more than one where drafts are checked.
    Pipeline stages work on equal parts of a batch at the same time, so a step takes stages x the
    slowest one's part. Raises PlanRefused as the latency model does.
    """
    graphs = timer(gpu, deployment.replace(enforce_eager=False), speed)
    stages = deployment.pipeline_parallel_size
    ring = deployment.context_parallel_size
    counts = powers(max(2, max_num_seqs), halves=True)
    contexts = [max(16, n) for n in powers(max(64, max_model_len)) if n >= 16]
    passes = {
        (n, c): decode_pass(model, deployment, n, c, tokens).stages
        for n in counts
        for c in (contexts if n in powers(max(2, max_num_seqs)) else contexts[:1])
    }
    rest, heads = [], []
    for n in counts:
        found = passes[n, contexts[0]]
        rest.append(stages * (_slowest(found, graphs) - _attention(found, graphs)))
        heads.append(_head_s(found[-1], graphs))
    whole = powers(max(2, max_num_seqs))
    grid = [[stages * _attention(passes[n, c], graphs) for c in contexts] for n in whole]

    def attention(sequences: int) -> Table:
        columns = [Table([float(n) for n in whole], [row[i] for row in grid])
                   for i in range(len(contexts))]  # fmt: skip
        return Table([float(c) for c in contexts], [max(0.0, col(sequences)) for col in columns])

    def chunk(size: int, reach: int) -> tuple[StagePass, ...]:
        mine = ceil_div(ceil_div(size, stages), ring)
        return _stages(model, deployment, "prefill", mine, {reach: 1})

    most = max(2, deployment.max_num_batched_tokens + max_num_seqs * tokens)
    sizes = powers(most, halves=True)
    chunk_rest = []
    for size in sizes:
        found = chunk(size, size)
        chunk_rest.append(stages * (_slowest(found, graphs) - _attention(found, graphs)))
    rates: list[tuple[int, Table]] = []
    for size in powers(most):
        reaches = [n for n in powers(max(64, max_model_len, 2 * size)) if n >= size]
        times = [stages * _attention(chunk(size, n), graphs) / pairs(size, n) for n in reaches]
        rates.append((size, Table([float(n) for n in reaches], times)))
    launches = sum(stage.costs.launches for stage in passes[1, contexts[0]])
    return StepClock(
        Table([float(n) for n in counts], rest),
        Table([float(n) for n in sizes], chunk_rest),
        Table([float(n * tokens) for n in counts], heads),
        attention,
        rates,
        launches * LAUNCH_S if deployment.enforce_eager else 0.0,
        tokens,
    )


def _slowest(found: Sequence[StagePass], clock: Timer) -> float:
    return float(max(stage.seconds(clock) for stage in distinct(found)))


def _attention(found: Sequence[StagePass], clock: Timer) -> float:
    return float(max(clock.kernels_s(stage.attention) for stage in distinct(found)))


def _head_s(stage: StagePass, clock: Timer) -> float:
    from planner.timing.roofline import Costs

    named = ("head", "sample", "final norm")
    work: Any = tuple(w for w in stage.costs.work if w.part in named)
    return float(clock.kernels_s(Costs(work)))
