"""Equal steps in a row, each a little longer than the one before it."""

from math import ceil, sqrt


def steps_within(seconds: float, first: float, last: float, most: int) -> tuple[int, float]:
    """Steps until `seconds` are over, `most` at most, and their time, which grows evenly.

    first, last: seconds of the first step and of the last of `most`, which is 2 or more.
    """
    total = most * (first + last) / 2
    if seconds >= total:
        return most, total
    slope = (last - first) / (most - 1)
    steps = (
        ceil(seconds / first)
        if slope * seconds <= 1e-9 * first * first
        else ceil(
            (sqrt((first - slope / 2) ** 2 + 2 * slope * seconds) - (first - slope / 2)) / slope
        )
    )
    steps = min(max(steps, 1), most)
    return steps, steps * (first + slope * (steps - 1) / 2)
