"""Decoding with and without a KV cache, step by step: what is projected, what is kept.

    totals(100)   # 5,050 projections without a cache, 100 with one

A projection is the key and the value of one token, in every layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.kv_cache import CacheTerm
from planner.model import Model


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
