"""A rank of one of SGLang's stages: what it spends of the budget, and what a token takes there.

Records: start-up logs on H100, MI300X and 16 and 24 GB cards.
"""

from dataclasses import dataclass

from planner.deployment import Deployment
from planner.engines.engine import within
from planner.engines.sglang.options import SglangOptions
from planner.engines.sglang.pool import Cell, cell_of, draft_layers, drafted, state_bytes
from planner.engines.stages import StageWeights, draft_weights
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.formats.dtypes import kv_format
from planner.model import Model
from planner.units import GIB

CONTEXT_GIB = (0.73, 0.35, 1.1)
"""In use before loading, one GPU: H100 0.70 and 0.76, MI300X 0.36, a 24 GB card 1.1."""
CONTEXT_PARALLEL_GIB = (1.9, 1.0, 2.6)
"""With communicators: 1.9 on eight H200s."""
LOADING_GIB = (0.04, 0.0, 0.15)
"""What loading takes beyond tensors: Llama-3.1-8B 0.01 to 0.03, Qwen2.5-0.5B and Qwen3-0.6B
0.05 to 0.13."""


@dataclass(frozen=True, slots=True)
class Rank:
    """A rank of one stage: what it spends, what that leaves, and its cell."""

    components: dict[str, Estimate]
    left: int
    cell: Cell
    state: int
    stage: StageWeights


def rank_of(
    stage: StageWeights,
    model: Model,
    deployment: Deployment,
    options: SglangOptions,
    draft: Model | None,
    budget: int,
) -> Rank:
    """What a rank of that stage spends of `budget`, and its cell."""
    components = {"weights": stage.weights}
    layers = draft_layers(options, model, draft)
    if draft is not None and layers and stage.last:
        components["draft_weights"] = draft_weights(
            draft, deployment, shares=options.speculative_algorithm != "STANDALONE"
        )
    components["non_torch"] = _gib(LOADING_GIB, "memory that loading takes beside tensors, in logs")
    fmt = kv_format(deployment.kv_cache_dtype, model.own_cache)
    cell = cell_of(stage.groups, fmt, deployment)
    if not cell.full + cell.sliding:
        raise PlanRefused(
            "SGLang's pool holds tokens, and these layers cache none: use another engine"
        )
    if layers:
        cell = drafted(cell, model.num_hidden_layers, layers)
    left = budget - sum(part.bytes for part in components.values())
    return Rank(components, left, cell, state_bytes(stage.groups, deployment), stage)


def feed_forward_of(deployment: Deployment) -> Deployment:
    """Data-parallel attention splits only attention: dense layers and shared experts run over all
    ranks of a stage (moe_dense_tp_size is unset by default)."""
    dp = deployment.data_parallel_size
    ranks = deployment.tensor_parallel_size * dp
    return deployment.replace(tensor_parallel_size=ranks, data_parallel_size=1)


def context_of(deployment: Deployment) -> Estimate:
    """What is in use before loading."""
    if deployment.gpus == 1:
        return _gib(CONTEXT_GIB, "in use before loading: 0.36 to 1.1 GiB in start-up logs")
    return _gib(CONTEXT_PARALLEL_GIB, "in use before loading with communicators: 1.9 GiB, 8 H200s")


def _gib(found: tuple[float, float, float], source: str) -> Estimate:
    value, low, high = found
    return within(value * GIB, low * GIB, high * GIB, source)
