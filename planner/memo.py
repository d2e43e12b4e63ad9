"""Caching by identity: a Model is large and frozen, so the same object is the same question."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Concatenate, ParamSpec, TypeVar

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Same:
    """Hashes and compares by what it holds, as an object and not as a value."""

    __slots__ = ("it",)

    def __init__(self, it: object) -> None:
        self.it = it

    def __hash__(self) -> int:
        return id(self.it)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.it is other.it


def memo(
    maxsize: int,
) -> Callable[[Callable[Concatenate[T, P], R]], Callable[Concatenate[T, P], R]]:
    """Keep the last `maxsize` answers of a function whose first argument is told by identity."""

    def decorate(function: Callable[Concatenate[T, P], R]) -> Callable[Concatenate[T, P], R]:
        @lru_cache(maxsize=maxsize)
        def kept(same: Same, *args: P.args, **kwargs: P.kwargs) -> R:
            return function(same.it, *args, **kwargs)  # type: ignore[arg-type]

        @wraps(function)
        def call(first: T, *args: P.args, **kwargs: P.kwargs) -> R:
            return kept(Same(first), *args, **kwargs)

        return call

    return decorate
