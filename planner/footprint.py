"""A model on a deployment, compiled to the few coefficients that a plan evaluates.

Everything that does not depend on context or concurrency is added up once per (model, GPU,
deployment) and kept; a plan then costs a handful of multiplications, and a sweep the same in
NumPy.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from planner import overheads
from planner.activations import ActivationTerms, activation_terms
from planner.attention import (
    CTAS_PER_SM,
    KEY_TILE,
    LSE_BYTES,
    MAX_SPLITS,
    PARTIAL_BYTES,
    Heads,
    attention_layers,
)
from planner.calibration import MemoryCalibration
from planner.deployment import Deployment
from planner.estimate import Estimate
from planner.formats.dtypes import KvFormat, kv_format
from planner.formats.quantization import Assignment, assign
from planner.formats.weight_formats import UNQUANTISED, WeightFormat
from planner.hardware import Gpu
from planner.kv_cache import CacheTerm, cache_terms, state_bytes, whole
from planner.memo import memo
from planner.model import LayerGroup, Model
from planner.parallelism import Shard, check, joined_gpus, layers_in, shard, stage_spans
from planner.tensors import Weight
from planner.units import ceil_div
from planner.weights import WeightBytes, component, weights_bytes

DEFAULT_SM_COUNT = 128
"""Where a GPU's own count is unknown: that of current large accelerators, for split-KV buffers."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Flash attention's buffers on one rank, as the largest that any of its layers needs.

    lse_bytes_per_token: log-sum-exps of prefill. Decode partials: partial_bytes_per_row for each
    (sequence, split), of which one wave of the GPU bounds the number.
    """

    lse_bytes_per_token: int
    partial_bytes_per_row: int
    kv_heads: int
    rows_of_a_wave: int

    def wave(self, sm_count: Any) -> Any:
        """rows_of_a_wave on a GPU with so many multiprocessors, or on an array of GPUs."""
        return CTAS_PER_SM * sm_count // self.kv_heads

    def bytes(self, chunk_tokens: int, sequences: int, context: int) -> int:
        splits = min(MAX_SPLITS, ceil_div(context, KEY_TILE))
        rows = 0 if splits == 1 else min(sequences * splits, self.rows_of_a_wave)
        return max(chunk_tokens * self.lse_bytes_per_token, rows * self.partial_bytes_per_row)


@dataclass(frozen=True, slots=True)
class Stage:
    """One pipeline stage as each of its GPUs sees it."""

    layers: range
    weights: dict[str, int]
    weights_bytes: int
    terms: tuple[CacheTerm, ...]
    state_bytes: int
    activations: ActivationTerms
    workspace: Workspace
    runtime: dict[str, Estimate]
    runtime_bytes: int

    def sequence_bytes(self, context: int, block_size: int) -> int:
        """Cache in whole blocks, and state, of one sequence."""
        total = self.state_bytes
        for term in self.terms:
            total += term.paged_bytes(context, block_size)
        return total

    def shared_bytes(self, context: int, prefix: int) -> int:
        """Cache that another sequence with the same first `prefix` tokens need not store again."""
        return sum(term.shared_bytes(context, prefix) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Footprint:
    """The compiled form. terms and state_bytes are those of the whole, unsplit model."""

    deployment: Deployment
    assignment: Assignment
    weights: WeightBytes
    kv_format: KvFormat
    stages: tuple[Stage, ...]
    terms: tuple[CacheTerm, ...]
    state_bytes: int
    heads: Heads | None
    cache_groups: int


def footprint(model: Model, gpu: Gpu, deployment: Deployment) -> Footprint:
    """The Footprint of `model` on `deployment`, compiled at most once per model object.

    Raises PlanRefused where the deployment does not suit the model's shapes or formats.
    """
    gpu.check_joins(joined_gpus(model, deployment))
    measured = None if gpu.calibration is None else gpu.calibration.memory
    nvidia = gpu.vendor in ("NVIDIA", "custom")
    return _compiled(model, gpu.sm_count or DEFAULT_SM_COUNT, deployment, measured, nvidia)


@memo(maxsize=1024)
def _compiled(
    model: Model,
    sm_count: int,
    deployment: Deployment,
    measured: MemoryCalibration | None,
    nvidia: bool,
) -> Footprint:
    check(model, deployment)
    assignment = assign(model, deployment.weights_dtype)
    cache_format = kv_format(deployment.kv_cache_dtype, model.own_cache)
    spans = stage_spans(model.num_hidden_layers, deployment.pipeline_parallel_size)
    stages = []
    for index, span in enumerate(spans):
        stages.append(
            _stage(
                model,
                deployment,
                assignment,
                cache_format,
                sm_count,
                measured,
                nvidia,
                span,
                index,
                len(spans),
            )
        )
    heads = [h for h, _ in attention_layers(model.groups)]
    terms = cache_terms(whole(model), cache_format)
    return Footprint(
        deployment=deployment,
        assignment=assignment,
        weights=weights_bytes(assignment),
        kv_format=cache_format,
        stages=tuple(stages),
        terms=terms,
        state_bytes=state_bytes(whole(model), model.dtype),
        heads=max(heads, key=lambda h: h.num_heads, default=None),
        cache_groups=len({(t.window, t.stride) for t in terms}),
    )


def _stage(
    model: Model,
    deployment: Deployment,
    assignment: Assignment,
    cache_format: KvFormat,
    sm_count: int,
    measured: MemoryCalibration | None,
    nvidia: bool,
    span: range,
    index: int,
    count: int,
) -> Stage:
    tp = deployment.tensor_parallel_size
    groups = [(g, layers_in(g, span)) for g in model.groups]
    groups = [(g, n) for g, n in groups if n]
    weights = stage_weights(model, deployment, assignment, span, index == 0, index == count - 1)
    token_split = deployment.decode_context_parallel_size * deployment.context_parallel_size
    runtime = overheads.runtime(
        gpus_per_replica=deployment.gpus,
        expert_parallel=deployment.enable_expert_parallel and deployment.gpus > 1,
        enforce_eager=deployment.enforce_eager,
        measured=measured,
        nvidia=nvidia,
    )
    return Stage(
        layers=span,
        weights=weights,
        weights_bytes=sum(weights.values()),
        terms=cache_terms(groups, cache_format, tensor_parallel_size=tp, token_split=token_split),
        state_bytes=state_bytes(groups, model.dtype, tensor_parallel_size=tp),
        activations=activation_terms(
            model,
            groups,
            tensor_parallel_size=tp,
            expert_parallel=deployment.enable_expert_parallel,
            last_stage=index == count - 1,
        ),
        workspace=_workspace(groups, tp, sm_count),
        runtime=runtime,
        runtime_bytes=sum(part.bytes for part in runtime.values()),
    )


def stage_weights(
    model: Model,
    deployment: Deployment,
    assignment: Assignment,
    span: range,
    first: bool,
    last: bool,
) -> dict[str, int]:
    """Weight bytes of one rank by component."""
    found: dict[str, int] = {}
    for name, piece, fmt in held_weights(model, deployment, assignment, span, first, last):
        found[name] = found.get(name, 0) + piece.copies * fmt.bytes(piece.shape)
    return found


def held_weights(
    model: Model,
    deployment: Deployment,
    assignment: Assignment,
    span: range,
    first: bool,
    last: bool,
) -> Iterator[tuple[str, Shard, WeightFormat]]:
    """What one rank stores: component, shard and format, its layers' copies counted together.

    The embedding comes first and the head last; a tied embedding is stored on both ends when they
    are different GPUs. Towers beside the decoder stay whole and unquantised on each GPU of the
    first stage.
    """
    for part in assignment.layers:
        held = sum(1 for i in part.layers if i in span)
        for weight, fmt in part.weights if held else ():
            piece = shard(weight, deployment)
            yield component(weight, part.group), Shard(piece.shape, held * piece.copies), fmt
    tied_copy = model.tie_word_embeddings and not first
    for weight, fmt in assignment.outside:
        at_front, at_back = _place(model, weight)
        if (first and at_front) or (last and (at_back or (tied_copy and at_front))):
            yield component(weight, None), shard(weight, deployment), fmt
    for weight in model.towers if first else ():
        yield "towers", Shard(weight.shape, weight.copies), UNQUANTISED[model.dtype]


def _place(model: Model, weight: Weight) -> tuple[bool, bool]:
    """Whether a tensor outside the layers sits before the first layer, after the last."""
    front = weight in model.embedding or "embed" in weight.name
    return front, not front


def _workspace(groups: list[tuple[LayerGroup, int]], tp: int, sm_count: int) -> Workspace:
    found = [heads for heads, _ in attention_layers([g for g, _ in groups], tp)]
    lse = max((LSE_BYTES * h.num_heads for h in found), default=0)
    partial = max((PARTIAL_BYTES * h.num_heads * (h.value_dim + 1) for h in found), default=0)
    kv_heads = min((h.num_kv_heads for h in found), default=1)
    return Workspace(lse, partial, kv_heads, CTAS_PER_SM * sm_count // kv_heads)
