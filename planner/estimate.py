"""A figure we cannot derive exactly: a value, the range it was seen in, and where it comes from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """bytes is the central value; low and high bound what the source saw."""

    bytes: int
    low_bytes: int
    high_bytes: int
    source: str

    @property
    def is_range(self) -> bool:
        return self.low_bytes != self.high_bytes


def total(parts: "list[Estimate]") -> Estimate:
    """The sum of estimates, its range the sum of their ends."""
    return Estimate(
        sum(part.bytes for part in parts),
        sum(part.low_bytes for part in parts),
        sum(part.high_bytes for part in parts),
        "; ".join(dict.fromkeys(part.source for part in parts)),
    )
