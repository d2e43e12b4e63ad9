"""Softmax in one pass over blocks, as flash attention computes it, and in one shot.

    blocks = online([2.0, 5.0, 3.0], [1.0, 0.0, 0.0], block=2)
    blocks[-1].denominator   # 1.185..., the same as one_shot's

A block that brings a larger maximum makes everything so far too large by exp(new - old), so the
running sum and the running output are multiplied by exp(old - new) first.
Source: Milakov and Gimelshein 2018 (arXiv 1805.02867).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf


@dataclass(frozen=True, slots=True)
class Block:
    """State after one block. rescale: what the sum and output so far were multiplied by.

    added: exp(score - maximum) of the block's own scores. output is not divided yet.
    """

    scores: tuple[float, ...]
    maximum: float
    rescale: float
    added: tuple[float, ...]
    denominator: float
    output: float

    @property
    def result(self) -> float:
        """The weighted mean of the values so far."""
        return self.output / self.denominator


def online(scores: Sequence[float], values: Sequence[float], block: int) -> list[Block]:
    """The states after each block of `block` scores; `values` has one number per score."""
    found: list[Block] = []
    maximum, denominator, output = -inf, 0.0, 0.0
    for start in range(0, len(scores), block):
        part = tuple(scores[start : start + block])
        new = max(maximum, *part)
        rescale = exp(maximum - new) if maximum > -inf else 0.0
        added = tuple(exp(score - new) for score in part)
        denominator = denominator * rescale + sum(added)
        weighed = zip(added, values[start : start + block], strict=True)
        output = output * rescale + sum(weight * value for weight, value in weighed)
        maximum = new
        found.append(Block(part, maximum, rescale, added, denominator, output))
    return found


def one_shot(scores: Sequence[float], values: Sequence[float]) -> Block:
    """The same with all scores in sight: maximum first, then one sum."""
    return online(scores, values, len(scores))[-1]
