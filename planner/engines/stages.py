"""Weights of each pipeline stage as engines on PyTorch hold them, and the budget's error bar."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from planner.deployment import Deployment
from planner.engines.engine import exactly, within
from planner.engines.loaded_weights import loaded_weights
from planner.engines.vision_tower import WITH_TOWER, tower_of
from planner.estimate import Estimate
from planner.formats.quantization import Assignment, assign
from planner.model import LayerGroup, Model
from planner.parallelism import layers_in, stage_spans

SOURCE = "checkpoint tensors of the rank in the blocks of PyTorch's allocator, and rotary tables"


@dataclass(frozen=True, slots=True)
class StageWeights:
    """Layers of one stage, by group, and what a rank of it loads."""

    layers: range
    groups: tuple[tuple[LayerGroup, int], ...]
    weights: Estimate
    last: bool


def stages(
    model: Model,
    deployment: Deployment,
    config: Mapping[str, Any] | None,
    *,
    mtp: bool = False,
    feed_forward: Deployment | None = None,
) -> tuple[StageWeights, ...]:
    """Every stage in order; a vision tower sits on the first, MTP layers on the last.

    feed_forward: how dense feed-forward layers are split, where that differs from attention.
    """
    assignment = assign(model, deployment.weights_dtype)
    spans = stage_spans(model.num_hidden_layers, deployment.pipeline_parallel_size)
    found = []
    for index, span in enumerate(spans):
        last = index == len(spans) - 1
        groups = tuple((g, n) for g in model.groups if (n := layers_in(g, span)))
        weights = _weights(
            model, deployment, assignment, span, index == 0, last, config, mtp, feed_forward
        )
        found.append(StageWeights(span, groups, weights, last))
    return tuple(found)


def _weights(
    model: Model,
    deployment: Deployment,
    assignment: Assignment,
    span: range,
    first: bool,
    last: bool,
    config: Mapping[str, Any] | None,
    mtp: bool,
    feed_forward: Deployment | None,
) -> Estimate:
    size = loaded_weights(
        model, deployment, assignment, span, first=first, last=last, config=config, mtp=mtp,
        feed_forward=feed_forward,
    ).total  # fmt: skip
    tower = tower_of(config or {}, model) if first else None
    if tower is None:
        return within(size, 0.99 * size, 1.01 * size, SOURCE)
    whole = 2 * tower.parameters
    share = whole // deployment.tensor_parallel_size
    return within(size + share, 0.99 * size + 0.9 * share, 1.01 * size + whole, SOURCE + WITH_TOWER)


def draft_weights(draft: Model, deployment: Deployment, *, shares: bool = False) -> Estimate:
    """A draft model's own tensors, split as the target's are.

    shares: a head that reads the target's embedding, as all published ones can; one whose own
    embedding differs keeps it.
    """
    whole = deployment.replace(pipeline_parallel_size=1, weights_dtype="auto")
    span = range(draft.num_hidden_layers)
    own, less = (
        loaded_weights(draft, whole, assign(draft, "auto"), span, first=first, last=True).total
        for first in (True, False)
    )
    if not shares:
        return exactly(own, "the draft model's own tensors")
    source = "the head's own tensors: it shares the target's embedding, or keeps one that differs"
    return within(less, less, own, source)


def left_of(size: int, parts: Iterable[Estimate], source: str) -> Estimate:
    """What a budget leaves, with its parts' deviations added as if independent."""
    spent = list(parts)
    below = math.isqrt(sum((part.high_bytes - part.bytes) ** 2 for part in spent))
    above = math.isqrt(sum((part.bytes - part.low_bytes) ** 2 for part in spent))
    return within(size, size - below, size + above, source)


def shared_requests(tokens: int, context: int, common: int, width: int, prompt: int) -> int:
    """Sequences of `context` that fit into a pool of `tokens`.

    common: first tokens that all share, 0 without a prefix cache. width sequences of one request
    share the first `prompt` tokens.
    """
    each = context - common + (width - 1) * (context - max(common, prompt))
    return max(0, (tokens - common) // max(1, each))
