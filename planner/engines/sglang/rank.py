"""A rank of one of SGLang's stages: what it spends of the budget, and what a token takes there.

Records: start-up logs on H100, H200, B200, MI300X, MI355X and 16 and 24 GB cards.
"""

from dataclasses import dataclass

from planner.deployment import Deployment
from planner.engines.engine import within
from planner.engines.links import linked
from planner.engines.loaded_weights import mtp_bytes
from planner.engines.sglang.fraction import DRAFTS_IN_POOL_SINCE, version_of
from planner.engines.sglang.options import SglangOptions
from planner.engines.sglang.pool import Cell, cell_of, draft_layers, drafted, state_bytes
from planner.engines.stages import StageWeights, draft_weights
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.formats.dtypes import kv_format
from planner.hardware import Gpu
from planner.model import Model
from planner.units import GIB

CONTEXT_GIB = (0.73, 0.35, 1.1)
"""In use before loading, one GPU: H100 0.70 and 0.76, MI300X 0.36, a 24 GB card 1.1."""
CONTEXT_PARALLEL_GIB = (1.9, 1.0, 3.2)
"""With communicators: 1.9 on eight H200s, 3.0 on four B200s."""
CONTEXT_FABRIC_GIB = (4.2, 1.0, 4.6)
"""On AMD: 4.0 to 4.5 on eight MI355X."""
CONTEXT_UNLINKED_GIB = (0.6, 0.3, 1.6)
"""Without fast links between the cards, whose buffers are smaller: 0.44 on four RTX 4090."""
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
    layers = draft_layers(options, model, draft) if drafts_in_pool(options) else 0
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


def drafts_in_pool(options: SglangOptions) -> bool:
    """Whether drafts are loaded before the pool is sized, and their cache is of it."""
    return version_of(options.version) >= DRAFTS_IN_POOL_SINCE


def drafting(
    model: Model,
    draft: Model | None,
    deployment: Deployment,
    options: SglangOptions,
    rank: Rank,
    tokens: int,
) -> Estimate | None:
    """What drafts take beside the pool before 0.5.14, which sizes it first: weights and as many
    tokens as the pool holds."""
    layers = 0 if drafts_in_pool(options) else draft_layers(options, model, draft)
    if not layers or not rank.stage.last:
        return None
    if draft is None:
        weights = mtp_bytes(model, deployment, deployment.pipeline_parallel_size - 1)
    else:
        shares = options.speculative_algorithm != "STANDALONE"
        weights = draft_weights(draft, deployment, shares=shares).bytes
    cell = (rank.cell.full + rank.cell.sliding) * layers // model.num_hidden_layers
    return within(
        weights + cell * tokens, 0.9 * (weights + cell * tokens), 1.1 * (weights + cell * tokens),
        "loaded after the pool is sized (0.5.12), with tokens of its own for all that it holds",
    )  # fmt: skip


def feed_forward_of(deployment: Deployment) -> Deployment:
    """Data-parallel attention splits only attention: dense layers and shared experts run over all
    ranks of a stage (moe_dense_tp_size is unset by default)."""
    dp = deployment.data_parallel_size
    ranks = deployment.tensor_parallel_size * dp
    return deployment.replace(tensor_parallel_size=ranks, data_parallel_size=1)


def context_of(deployment: Deployment, gpu: Gpu) -> Estimate:
    """What is in use before loading."""
    if deployment.gpus == 1:
        return _gib(CONTEXT_GIB, "in use before loading: 0.36 to 1.1 GiB in start-up logs")
    if not linked(gpu, deployment.gpus):
        return _gib(CONTEXT_UNLINKED_GIB, "in use before loading: 0.44 GiB, 4 RTX 4090")
    if gpu.vendor == "AMD":
        return _gib(CONTEXT_FABRIC_GIB, "in use before loading: 4.0 to 4.5 GiB, 8 MI355X")
    return _gib(
        CONTEXT_PARALLEL_GIB,
        "in use before loading with communicators: 1.9 GiB, 8 H200s; 3.0, 4 B200s",
    )


def _gib(found: tuple[float, float, float], source: str) -> Estimate:
    value, low, high = found
    return within(value * GIB, low * GIB, high * GIB, source)
