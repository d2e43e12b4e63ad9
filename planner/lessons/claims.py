"""Numbers that articles quote about attention, each computed again from the same inputs.

    recompute(claim, presets)   # the figure in the claim's own unit

A claim names a quantity and its inputs; `quantities` knows how the planner computes each.
"""

from typing import Any, Literal

from planner.frozen import Frozen
from planner.lessons.quantities import QUANTITIES, Figure, Presets
from planner.units import GIB, KIB, MIB

Verdict = Literal["holds", "near", "misleading", "wrong", "wrong for this model"]

SCALE = {
    "KiB": KIB, "MiB": MIB, "GiB": GIB, "GB": 10**9, "TB": 10**12, "TB/s": 10**12, "ms": 1e-3,
    "%": 0.01, "B parameters": 10**9,
}  # fmt: skip
"""One of the unit in bytes, seconds or what it counts; units that are not here are themselves."""
CLOSE = 0.005
"""Figures that differ by less agree, whatever they are rounded to."""


class Claim(Frozen):
    """One quoted number. `value` is what the planner finds, in `unit`, as the table ships it."""

    id: str
    source: str
    claim: str
    quantity: str
    inputs: dict[str, Any]
    claimed: float | tuple[float, ...] | str | None
    value: float | tuple[float, ...]
    unit: str
    verdict: Verdict
    why: str


def recompute(claim: Claim, presets: Presets) -> Figure:
    """The claim's quantity from its inputs, in its unit."""
    found = QUANTITIES[claim.quantity](claim.inputs, presets)
    scale = SCALE.get(claim.unit, 1)
    return tuple(n / scale for n in found) if isinstance(found, tuple) else found / scale


def agrees(claimed: Figure, value: Figure) -> bool:
    """Whether `value` is what `claimed` says, to the digits that it gives."""
    if isinstance(claimed, tuple) and isinstance(value, tuple):
        return len(claimed) == len(value) and all(map(agrees, claimed, value))
    if isinstance(claimed, tuple) or isinstance(value, tuple):
        return False
    if abs(claimed - value) <= CLOSE * abs(value):
        return True
    text = f"{claimed:.10f}".rstrip("0")
    digits = max(1, len(text.partition(".")[2]))
    return round(value, digits) == claimed
