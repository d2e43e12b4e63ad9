"""Softmax in one pass over blocks, as flash attention computes it, and in one shot.

    blocks = online([2.0, 5.0, 3.0], [1.0, 0.0, 0.0], block=2)
    blocks[-1].denominator   # 1.185..., the same as one_shot's

A block that brings a larger maximum makes everything so far too large by exp(new - old), so the
running sum and the running output are multiplied by exp(old - new) first. Without a maximum no
score is in the way of an exponential that 16 bits cannot hold:

    unsafe([12.0, 1.0], [1.0, 2.0]).denominator   # inf: exp(12) = 162,755 > 65,504

Source: Milakov and Gimelshein 2018 (arXiv 1805.02867).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, inf

import numpy as np

FP16_LARGEST = 65_504


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


@dataclass(frozen=True, slots=True)
class Unsafe:
    """Softmax in fp16 without a maximum: inf and nan where the format ends."""

    largest_term: float
    denominator: float
    result: float


def unsafe(scores: Sequence[float], values: Sequence[float]) -> Unsafe:
    """Exponentials, their sum and the weighted mean, each rounded to fp16."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        terms = np.exp(np.array(scores, dtype=np.float64)).astype(np.float16)
        total = terms.sum(dtype=np.float16)
        output = (terms * np.array(values, dtype=np.float16)).sum(dtype=np.float16)
        return Unsafe(float(terms.max()), float(total), float(output / total))


def naive_probabilities(scores: Sequence[float]) -> list[float]:
    """Two passes: the sum, then each exponential by it. Overflows where a score is large."""
    total = sum(exp(score) for score in scores)
    return [exp(score) / total for score in scores]


def safe_probabilities(scores: Sequence[float]) -> list[float]:
    """Three passes: the maximum, the sum, the output."""
    top = max(scores)
    total = sum(exp(score - top) for score in scores)
    return [exp(score - top) / total for score in scores]


def online_probabilities(scores: Sequence[float]) -> list[float]:
    """Two passes: maximum and sum together, then the output."""
    top, total = -inf, 0.0
    for score in scores:
        new = max(top, score)
        total = total * (exp(top - new) if top > -inf else 0.0) + exp(score - new)
        top = new
    return [exp(score - top) / total for score in scores]


@dataclass(frozen=True, slots=True)
class Form:
    """One way to a row of probabilities. loads and stores: of memory, for each score."""

    name: str
    compute: Callable[[Sequence[float]], list[float]]
    loads: int
    stores: int = 1

    @property
    def accesses(self) -> int:
        return self.loads + self.stores


FORMS = (
    Form("Naive", naive_probabilities, 2),
    Form("Safe", safe_probabilities, 3),
    Form("Online", online_probabilities, 2),
)
"""For a row too long to stay on the chip. Attention in tiles keeps its scores there: none."""
