"""One line of a derivation."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One line. bytes is the value of the formula; substitution shows it with numbers."""

    label: str
    formula: str
    substitution: str
    bytes: int
    in_total: bool = False
