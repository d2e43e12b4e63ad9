"""States of a training step, and what its collectives send."""

from planner.lessons.quantities.given import Inputs, Presets, Quantity
from planner.timing.collectives import all_gather_s, all_reduce_s, link_between
from planner.training.recipe import Recipe
from planner.training.states import gradient_bytes


def _gradient_ratio(inputs: Inputs, _: Presets) -> float:
    before, after = (
        gradient_bytes(Recipe(precision=inputs[name])) for name in ("before", "after")
    )  # fmt: skip
    return before / after


def _all_reduce_over_scatter(inputs: Inputs, presets: Presets) -> float:
    """Seconds of bytes on the wire, without what starting a collective takes.

    A reduce-scatter sends what an all-gather does: every part of the others' once.
    """
    link = link_between(presets.gpu_of(inputs["gpu"]), inputs["ranks"])
    size, ranks = float(inputs["bytes"]), inputs["ranks"]
    both = (all_reduce_s, all_gather_s)
    reduced, scattered = (f(2 * size, ranks, link) - f(size, ranks, link) for f in both)
    return float(reduced / scattered)


QUANTITIES: dict[str, Quantity] = {
    "gradient ratio": _gradient_ratio,
    "all-reduce over reduce-scatter": _all_reduce_over_scatter,
}
