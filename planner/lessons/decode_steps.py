"""Decoding with and without a KV cache, step by step: what is projected, what is kept.

    totals(100)        # 5,050 projections without a cache, 100 with one
    pair_totals(100)   # 171,700 query-key pairs without a cache, 5,050 with one
    seconds(model, gpu, deployment, speed, prompt=1024, answer=256).ratio

A projection is the key and the value of one token, in every layer; a pair is one score.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.attention import pairs
from planner.deployment import Deployment
from planner.hardware import Gpu
from planner.kv_cache import CacheTerm
from planner.model import Model
from planner.timing.breakdown import decode_time, prefill_time
from planner.timing.passes import decode_pass, prefill_pass
from planner.timing.speed import Speed

SAMPLES = 33
"""Lengths that are timed at the most; steps between two of them are taken to lie on a line."""


@dataclass(frozen=True, slots=True)
class Step:
    """Step `number` reads `number` tokens; projections of this step, and of all so far."""

    number: int
    without_cache: int
    with_cache: int
    total_without: int
    total_with: int


def step(number: int) -> Step:
    """The step that computes token `number`, counted from 1."""
    return Step(number, number, 1, number * (number + 1) // 2, number)


def steps(tokens: int) -> list[Step]:
    return [step(n) for n in range(1, tokens + 1)]


def totals(tokens: int) -> tuple[int, int]:
    """Projections of `tokens` tokens without and with a cache: n(n + 1)/2 and n."""
    last = step(tokens)
    return last.total_without, last.total_with


def step_pairs(number: int) -> tuple[int, int]:
    """Query-key pairs of step `number` without and with a cache: all its queries, and one."""
    return pairs(number, number), pairs(1, number)


def pair_totals(tokens: int) -> tuple[int, int]:
    """Pairs of all steps without and with a cache: n(n + 1)(n + 2)/6 and n(n + 1)/2."""
    found = [step_pairs(n) for n in range(1, tokens + 1)]
    return sum(each for each, _ in found), sum(each for _, each in found)


def projection_flops(model: Model) -> int:
    """FLOPs of one token's keys and values in all layers: 2 for each weight that makes them.

    With MLA these are the projections to the latent; the expansion to heads is not counted.
    """
    made = ("k_proj", "v_proj", "kv_a_proj_with_mqa")
    weights = 0
    for group in model.groups:
        found = [w for w in group.weights(model.hidden_size) if w.name in made]
        weights += group.count * sum(w.shape[0] * w.shape[-1] for w in found)
    return 2 * weights


def growth(terms: Sequence[CacheTerm], state_bytes: int, lengths: Sequence[int]) -> list[int]:
    """Bytes that one sequence keeps at each length: cache and recurrent state."""
    return [state_bytes + sum(term.bytes(n) for term in terms) for n in lengths]


@dataclass(frozen=True, slots=True)
class Spent:
    """Estimated seconds of one sequence's answer, its prompt included."""

    without_cache_s: float
    with_cache_s: float

    @property
    def ratio(self) -> float:
        return self.without_cache_s / self.with_cache_s


def seconds(
    model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, *, prompt: int, answer: int
) -> Spent:
    """An answer of `answer` tokens after a prompt, of which at least one token starts the text.

    The first token comes from a pass over the prompt either way. For each further one a cache
    takes a decode step; without it, a pass over all tokens so far.
    """
    first, last = max(1, prompt) + 1, max(1, prompt) + answer - 1

    def pass_s(tokens: int) -> float:
        found = prefill_pass(model, deployment, tokens)
        return prefill_time(found, gpu, deployment, speed).seconds

    def step_s(tokens: int) -> float:
        return decode_time(
            decode_pass(model, deployment, 1, tokens), gpu, deployment, speed
        ).seconds

    start = pass_s(max(1, prompt))
    return Spent(start + _summed(pass_s, first, last), start + _summed(step_s, first, last))


def _summed(time_s: Callable[[int], float], first: int, last: int) -> float:
    """time_s of every length from first to last; of many a few, with straight lines between."""
    if last < first:
        return 0.0
    lengths = sorted({first + (last - first) * k // (SAMPLES - 1) for k in range(SAMPLES)})
    times = [time_s(n) for n in lengths]
    total = times[0]
    for i in range(1, len(lengths)):
        gap = lengths[i] - lengths[i - 1]
        total += gap * (times[i - 1] + times[i]) / 2 + (times[i] - times[i - 1]) / 2
    return total
