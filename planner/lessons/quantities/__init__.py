"""What claims are about, each computed by the function that the planner itself uses for it.

QUANTITIES["cache"](inputs, presets)   # bytes, seconds, a count or a ratio

`inputs` are those of a Claim; several figures come as a tuple.
"""

from planner.lessons.quantities import caches, cards, decoding, models, scores, training
from planner.lessons.quantities.given import Figure, Presets, Quantity

QUANTITIES: dict[str, Quantity] = {
    **caches.QUANTITIES,
    **cards.QUANTITIES,
    **decoding.QUANTITIES,
    **models.QUANTITIES,
    **scores.QUANTITIES,
    **training.QUANTITIES,
}
ESTIMATES = frozenset({"answer speedup"})
"""Those that rest on measured rates, and move when more of them are measured."""

__all__ = ["ESTIMATES", "QUANTITIES", "Figure", "Presets", "Quantity"]
