"""ALiBi: no positions, but a penalty on each score that grows with the distance.

slopes(8)  # 1/2, 1/4, ... 1/256: the first head forgets fastest

Source: Press et al. 2021 (arXiv 2108.12409) and the published code of its authors, which fills up
head counts that are no power of two with every other slope of twice as many heads.
"""


def slopes(heads: int) -> tuple[float, ...]:
    """What each head takes off a score for every token of distance."""
    power = 1 << (heads.bit_length() - 1)
    found = [2.0 ** (-8 * (i + 1) / power) for i in range(power)]
    found += [2.0 ** (-8 * (2 * i + 1) / (2 * power)) for i in range(heads - power)]
    return tuple(found)


def reach_of(slope: float, penalty: float = 10.0) -> float:
    """Tokens after which the penalty is so large: exp(-10) is 1 / 22,026 of the weight."""
    return penalty / slope
