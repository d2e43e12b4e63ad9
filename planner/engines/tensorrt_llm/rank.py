"""A rank of one of TensorRT-LLM's stages: its peak, what that leaves, and what a token takes.

Its peak is not calibrated against logs, so activations carry a wide range.
"""

from dataclasses import dataclass

from planner import overheads
from planner.activations import activation_terms
from planner.deployment import Deployment
from planner.engines.engine import within
from planner.engines.stages import StageWeights, draft_weights
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.errors import PlanRefused
from planner.estimate import Estimate, total
from planner.formats.dtypes import KvFormat
from planner.hardware import Gpu
from planner.kv_cache import KINDS, state_bytes
from planner.model import Model
from planner.tensors import CacheTensor
from planner.units import GIB


@dataclass(frozen=True, slots=True)
class Rank:
    """A rank of one stage: its peak by component, and cache bytes as priced and as allocated."""

    components: dict[str, Estimate]
    left: int
    priced: int
    allocated: int
    states: int


def rank_of(
    stage: StageWeights,
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: TensorrtLlmOptions,
    fmt: KvFormat,
    draft: Model | None = None,
) -> Rank:
    """What a rank of that stage spends, leaves, and takes for a token."""
    tp = deployment.tensor_parallel_size
    terms = activation_terms(
        model, list(stage.groups), tensor_parallel_size=tp,
        expert_parallel=deployment.enable_expert_parallel, last_stage=stage.last,
    )  # fmt: skip
    peak = terms.layer_bytes(options.max_num_tokens)
    runtime = overheads.runtime(
        gpus_per_replica=deployment.gpus,
        expert_parallel=deployment.enable_expert_parallel and deployment.gpus > 1,
        enforce_eager=True,
    )
    parts = {"weights": stage.weights}
    if draft is not None and stage.last:
        parts["draft_weights"] = draft_weights(draft, deployment)
    parts["activation"] = within(
        peak, 0.6 * peak, 2 * peak + GIB / 2,
        "layer widths x max_num_tokens; not calibrated for TensorRT-LLM",
    )  # fmt: skip
    parts["non_torch"] = total(list(runtime.values()))
    free = gpu.memory_bytes - sum(part.bytes for part in parts.values())
    left = int(free * options.free_gpu_memory_fraction)
    tensors = [(t, count) for group, count in stage.groups for t in group.cache()]
    if draft is not None and stage.last:
        tensors += [(t, group.count) for group in draft.groups for t in group.cache()]
    return Rank(
        parts,
        left,
        sum(count * _entry(t, fmt, tp, floor=False) for t, count in tensors),
        sum(count * _entry(t, fmt, tp, floor=True) for t, count in tensors),
        options.max_batch_size
        * state_bytes(stage.groups, model.dtype, tensor_parallel_size=tp, past_only=True),
    )


def excess(model: Model, tensor_parallel_size: int) -> float:
    """How many times its price a token takes at most: ranks beyond the KV heads each keep one."""
    split = [t.heads for group in model.groups for t in group.cache() if not _on_every_rank(t)]
    return max([1.0, *(tensor_parallel_size / heads for heads in split)])


def _entry(tensor: CacheTensor, fmt: KvFormat, tp: int, *, floor: bool) -> int:
    """Bytes of a layer's entry; without `floor` as TensorRT-LLM prices it, less than one KV head
    a rank when ranks outnumber heads."""
    whole = fmt.entry_bytes(tensor.width, KINDS.get(tensor.name, "latent"))
    if tensor.stride != 1:
        raise PlanRefused(
            "TensorRT-LLM's layout of compressed caches is not described: plan without --engine"
        )
    if _on_every_rank(tensor):
        return whole
    return max(1, tensor.heads // tp) * whole if floor else whole * tensor.heads // tp


def _on_every_rank(tensor: CacheTensor) -> bool:
    """Latents are no heads: each rank keeps all of them, and is priced so."""
    return tensor.heads == 1 and tensor.name in ("latent", "indexer_keys")
