"""Attention in fp8 with and without a rotation that spreads outliers, against float64.

    found = errors(4096, head_dim=128, value_dim=128)
    found.plain / found.rotated   # how much of the error the rotation removes

Q and K times the same orthogonal matrix leave Q K^T as it is, and a random-sign Hadamard matrix
mixes every entry of a head into all of them, so that no entry stands out any more. Entries are
drawn as in FlashAttention-3's test: N(0, 1), and one in a thousand has N(0, 100) on top.
Source: Shah et al. 2024 (arXiv 2407.08608, section 3.3 and the table of numerical errors).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.floating[Any]]
Rounding = Callable[[Numbers], Numbers]

LARGEST = 448.0
MANTISSA_BITS = 3
SMALLEST_EXPONENT = -6
OUTLIERS = 0.001
OUTLIER_DEVIATION = 10.0
QUERIES = 64
DRAWS = 4


def e4m3(values: Numbers) -> Numbers:
    """Each value as the nearest e4m3 number, ties to even; beyond ±448 it is ±448."""
    return _rounded(np.clip(values, -LARGEST, LARGEST), MANTISSA_BITS, SMALLEST_EXPONENT)


def half(values: Numbers) -> Numbers:
    """In 16 bits, of which 10 are the mantissa's."""
    return _rounded(values.copy(), 10, -14)


def _rounded(values: Numbers, mantissa_bits: int, smallest_exponent: int) -> Numbers:
    """`values`, overwritten by the nearest numbers with so many bits after the first, ties to even.

    A number near 1.5 x 2^52 steps (2^23 in 32 bits) has no bits below a step: adding that much
    and taking it away again rounds.
    """
    number = np.finfo(values.dtype)
    whole = np.dtype(f"u{values.itemsize}").type
    exponent = whole(((1 << number.nexp) - 1) << number.nmant)
    power = (values.view(whole) & exponent).view(values.dtype)  # of two, at or below each value
    np.maximum(power, 2.0**smallest_exponent, out=power)
    power *= 1.5 * 2.0 ** (number.nmant - mantissa_bits)
    values += power
    values -= power
    return values


def per_tensor(values: Numbers) -> Numbers:
    """What is left of a tensor in e4m3 with one scale, by which its largest entry becomes 448."""
    scale = float(np.abs(values).max()) / LARGEST
    return e4m3(values / scale) * scale


def block_size(width: int) -> int:
    """The largest power of two that divides `width`: 128 of 128, 64 of 192."""
    return width & -width


def rotation(width: int, dice: np.random.Generator) -> Numbers:
    """Random signs, then a Hadamard matrix on each block: orthogonal."""
    size = block_size(width)
    block = np.ones((1, 1))
    while len(block) < size:
        block = np.block([[block, block], [block, -block]])
    signs = np.where(dice.random(width) < 0.5, -1.0, 1.0)
    whole = np.kron(np.eye(width // size), block / np.sqrt(size))
    return np.asarray(signs[:, None] * whole)


def drawn(rows: int, width: int, dice: np.random.Generator) -> Numbers:
    """Entries of N(0, 1) + N(0, 100) x Bernoulli(0.001), in 32 bits."""
    found = dice.standard_normal((rows, width), np.float32)
    hit = np.nonzero(dice.random((rows, width), np.float32) < OUTLIERS)
    found[hit] += OUTLIER_DEVIATION * dice.standard_normal(len(hit[0]), np.float32)
    return found


def standing_out(values: Numbers) -> float:
    """The largest entry as a multiple of the root mean square."""
    return float(np.abs(values).max() / np.sqrt(np.mean(values**2)))


@dataclass(frozen=True, slots=True)
class Errors:
    """Root mean square errors of the output, for one head and `tokens` keys.

    largest and largest_rotated: the largest entry of K in root mean squares.
    """

    tokens: int
    fp16: float
    plain: float
    rotated: float
    largest: float
    largest_rotated: float

    @property
    def gain(self) -> float:
        return self.plain / self.rotated


def errors(tokens: int, head_dim: int, value_dim: int, *, draws: int = DRAWS) -> Errors:
    """QUERIES queries over `tokens` keys without a mask; Q, K, V and the probabilities rounded.

    The errors of `draws` draws are put together, since few outliers decide each.
    """
    seeds = range(draws)
    found = np.array([_draw(*_inputs(tokens, head_dim, value_dim, seed)) for seed in seeds])
    fp16, plain, rotated = np.sqrt(np.mean(found[:, :3] ** 2, axis=0))
    largest, largest_rotated = np.mean(found[:, 3:], axis=0)
    return Errors(
        tokens, float(fp16), float(plain), float(rotated), float(largest), float(largest_rotated)
    )


def _inputs(tokens: int, head_dim: int, value_dim: int, seed: int) -> tuple[Numbers, ...]:
    """Q, K, V and the rotation of one draw, in the 32 bits in which kernels add up."""
    dice = np.random.default_rng(seed)
    q = drawn(min(QUERIES, tokens), head_dim, dice)
    k, v = drawn(tokens, head_dim, dice), drawn(tokens, value_dim, dice)
    return q, k, v, rotation(head_dim, dice).astype(np.float32)


def _draw(q: Numbers, k: Numbers, v: Numbers, turn: Numbers) -> tuple[float, ...]:
    exact = attention(*(x.astype(np.float64) for x in (q, k, v)))

    def off(q: Numbers, k: Numbers, v: Numbers, rounded: Rounding) -> float:
        return float(np.sqrt(np.mean((attention(q, k, v, rounded=rounded) - exact) ** 2)))

    turned, v8 = k @ turn, per_tensor(v)
    return (
        off(half(q), half(k), half(v), half),
        off(per_tensor(q), per_tensor(k), v8, e4m3),
        off(per_tensor(q @ turn), per_tensor(turned), v8, e4m3),
        standing_out(k),
        standing_out(turned),
    )


def attention(q: Numbers, k: Numbers, v: Numbers, *, rounded: Rounding = np.asarray) -> Numbers:
    """softmax(Q K^T / sqrt(d)) V; `rounded` is what exp(score - maximum) goes through before V."""
    scores = q / np.sqrt(q.shape[1], dtype=q.dtype) @ k.T
    scores -= scores.max(axis=1, keepdims=True)
    weights = np.exp(scores, out=scores)
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(rounded(weights) @ v / total)
