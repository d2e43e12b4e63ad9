"""The few functions that formulas need for plain numbers and for NumPy arrays alike."""

import math
from typing import Any

Number = Any
"""An int or float, or an array of them: a formula written once serves a plan and a sweep."""


def larger(a: Number, b: Number) -> Number:
    """The larger of two numbers, element by element where one is an array."""
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a if a >= b else b
    import numpy as np

    return np.maximum(a, b)


def smaller(a: Number, b: Number) -> Number:
    """The smaller of two numbers, likewise."""
    return -larger(-a, -b)


def log(a: Number) -> Number:
    """The natural logarithm."""
    if isinstance(a, (int, float)):
        return math.log(a)
    import numpy as np

    return np.log(a)


def choose(condition: Any, yes: Number, no: Number) -> Number:
    """`yes` where the condition holds, else `no`."""
    if isinstance(condition, bool):
        return yes if condition else no
    import numpy as np

    return np.where(condition, yes, no)
