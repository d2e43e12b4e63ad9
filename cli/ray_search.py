"""A search spread over a Ray cluster: the answer is that of a search on one machine.

Each task tries a few deployments on all GPUs; the parts are ranked together at the end.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from cli.ray_cluster import spread
from planner.deployment import Deployment
from planner.model import Model
from planner.offer import Offer
from planner.search.candidates import Found
from planner.search.search import checked, merged, search_part
from planner.search.space import Space, Target, deployments
from planner.timing import speed
from planner.timing.speed import Reference

DEPLOYMENTS_PER_TASK = 16


def ray_search(
    model: Model,
    offers: Sequence[Offer],
    reference: Reference,
    target: Target,
    space: Space,
    *,
    address: str,
    config: Mapping[str, Any] | None = None,
) -> Found:
    """search() on the cluster at `address`. Raises PlanRefused as checked() and spread() do."""
    note = checked(model, offers, target)
    shared = (model, tuple(offers), reference, target, space, config)
    everything = list(deployments(model, space))
    parts = [
        everything[i : i + DEPLOYMENTS_PER_TASK]
        for i in range(0, len(everything), DEPLOYMENTS_PER_TASK)
    ]
    found = spread(part_of_search, shared, parts, address=address)
    return merged(found, note, model=model, space=space)


def part_of_search(
    shared: tuple[Model, Sequence[Offer], Reference, Target, Space, Mapping[str, Any] | None],
    part: list[Deployment],
) -> Found:
    """What one task does."""
    model, offers, reference, target, space, config = shared
    speeds = partial(speed.speed_of, reference=reference)
    return search_part(model, offers, speeds, target, space, part, config=config)
