"""Linear attention twice: all tokens at once, and token by token with a state of fixed size.

    steps = recurrence(q, k, v)
    steps[-1].output        # the same as parallel(q, k, v)[-1]

With phi(x) = elu(x) + 1 in place of the exponential, the sum over earlier tokens can be taken
before the query comes: sum of phi(q) . phi(k) v = phi(q) (sum of phi(k) v^T).
Source: Katharopoulos et al. 2020 (arXiv 2006.16236).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """After one token. state: score width x value width. normaliser: the sum of phi(k)."""

    state: Matrix
    normaliser: Vector
    output: Vector


def phi(row: Sequence[float]) -> Vector:
    """elu(x) + 1: x + 1 above 0, exp(x) below; never negative."""
    return tuple(x + 1 if x > 0 else exp(x) for x in row)


def recurrence(q: Sequence[Vector], k: Sequence[Vector], v: Sequence[Vector]) -> list[Step]:
    """The state after each token, and the output that its query reads from it."""
    state = [[0.0] * len(v[0]) for _ in k[0]]
    normaliser = [0.0] * len(k[0])
    found = []
    for query, key, value in zip(q, k, v, strict=True):
        for i, weight in enumerate(phi(key)):
            normaliser[i] += weight
            for j, entry in enumerate(value):
                state[i][j] += weight * entry
        asked = phi(query)
        total = _dot(asked, normaliser)
        output = tuple(_dot(asked, column) / total for column in zip(*state, strict=True))
        found.append(Step(tuple(map(tuple, state)), tuple(normaliser), output))
    return found


def parallel(q: Sequence[Vector], k: Sequence[Vector], v: Sequence[Vector]) -> list[Vector]:
    """Every query against all keys up to its own, as softmax attention does it."""
    keys = [phi(key) for key in k]
    found = []
    for i, query in enumerate(q):
        weights = [_dot(phi(query), key) for key in keys[: i + 1]]
        total = sum(weights)
        columns = zip(*v[: i + 1], strict=True)
        found.append(tuple(_dot(weights, column) / total for column in columns))
    return found


def state_elements(score_dim: int, value_dim: int) -> int:
    """Numbers that one head keeps, whatever the length: the matrix and the normaliser."""
    return score_dim * value_dim + score_dim


def tokens_of_cache(score_dim: int, value_dim: int) -> float:
    """How many tokens of K and V of one head take as much room as its state."""
    return state_elements(score_dim, value_dim) / (score_dim + value_dim)


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))
