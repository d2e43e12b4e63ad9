"""What one rank spends of its budget before the cache: weights, adapters, activation, overheads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.activations import activation_terms
from planner.deployment import Deployment
from planner.engines.checkpoint import checkpoint_of
from planner.engines.drafter import HEADS
from planner.engines.engine import within
from planner.engines.loaded_weights import (
    MXFP4_FIXED_BYTES,
    Loaded,
    loaded_weights,
    marlin_padding,
    offloaded_bytes,
)
from planner.engines.stages import SOURCE, draft_weights
from planner.engines.vision_tower import WITH_TOWER, Tower, tower_of
from planner.engines.vllm import overheads
from planner.engines.vllm.activation import Batch, activation
from planner.engines.vllm.command import QUANTISED_ON_LOAD
from planner.engines.vllm.ends import ends_of
from planner.engines.vllm.options import Settings, VllmOptions
from planner.engines.vllm.runner import second_runner, wrapper_of
from planner.engines.vllm.versions import Rules, rules_of
from planner.estimate import Estimate
from planner.formats.quantization import Assignment
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import layers_in
from planner.units import GIB

SHARED_SINCE = 9
IN_CPU_MEMORY = ", less those that --cpu-offload-gb keeps in CPU memory"

STORED = frozenset({"bf16", "fp16", "fp32", "fp8", "fp8_block", "int8"})
STORED_ERROR, OTHER_ERROR = 0.004, 0.01
"""Dense text models in these formats agree with their logs to 0.02 GiB, others lie at
-1.1 to 0.6 % (`python -m benchmarks.engine_accuracy`)."""


@dataclass(frozen=True, slots=True)
class Budget:
    """One rank of a pipeline stage. components are taken off the budget, graphs are captured."""

    components: dict[str, Estimate]
    graphs: Estimate | None

    @property
    def spent(self) -> int:
        return sum(part.bytes for part in self.components.values())

    @property
    def least_spent(self) -> int:
        """With every component at the low end of its range."""
        return sum(part.low_bytes for part in self.components.values())


def stage_budget(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: VllmOptions,
    settings: Settings,
    assignment: Assignment,
    spans: list[range],
    index: int,
    config: Mapping[str, Any] | None,
    draft: Model | None,
    *,
    loaded: Loaded | None = None,
) -> Budget:
    """What a rank of the stage with layers spans[index] spends before its cache.

    config: the model's own, for its vision tower and rotary embedding. draft: the model that
    drafts, whole on the last stage. loaded: its load(), where that is known already.
    """
    tp, span = deployment.tensor_parallel_size, spans[index]
    first, last = index == 0, index == len(spans) - 1
    generates = options.runner != "pooling"
    tower = tower_of(config or {}, model) if first else None
    loaded = loaded or load(model, deployment, options, assignment, spans, index, config)
    groups = [(g, n) for g in model.groups if (n := layers_in(g, span))]
    terms = activation_terms(
        model, groups, tensor_parallel_size=tp,
        expert_parallel=deployment.enable_expert_parallel, last_stage=last,
    )  # fmt: skip
    eager = options.enforce_eager or deployment.enforce_eager
    speculative = options.speculative_config
    checkpoint = checkpoint_of(model.source, model, deployment, QUANTISED_ON_LOAD)
    second = second_runner(
        model, settings.rules, None if speculative is None else speculative.method,
        pools=not generates, quantised=checkpoint.quantised,
        wrapper=wrapper_of(config), stages=len(spans), amd=gpu.vendor == "AMD",
    )  # fmt: skip
    batch = Batch(
        settings.max_num_batched_tokens, settings.max_num_seqs, settings.max_model_len,
        settings.block_size, settings.speculative_tokens, second, compiles=not eager,
    )  # fmt: skip
    marlin = overheads.marlin_runs_mxfp4(settings.rules, gpu)
    peak = activation(
        model, groups, terms, deployment, settings.rules, batch,
        tower=tower, first=first, last=last,
        packed_experts=has_packed_experts(assignment) and not marlin, samples=generates,
    )  # fmt: skip
    wider = overheads.repacked_weights(settings.rules, assignment, gpu)
    loaded, other = _in_layout(loaded, settings.rules, marlin, assignment, deployment, span)
    wider = max(wider, other)
    on_cpu = in_cpu_memory(assignment, deployment, options, span)
    formats = {fmt.name for part in assignment.layers for _, fmt in part.weights}
    as_stored = formats <= STORED and tower is None and not model.has_experts
    error = STORED_ERROR if as_stored else OTHER_ERROR
    components = {"weights": _weights(loaded, tower, tp, wider, on_cpu, error)}
    if draft is not None and last:
        components["draft_weights"] = draft_weights(
            draft, deployment, shares=_shares_embedding(options, settings, deployment)
        )
    if options.max_loras:
        slots = overheads.lora_slots(
            model, len(span), options.max_loras, options.max_lora_rank or 16, tp
        )
        components["lora_slots"] = within(slots, 0.8 * slots, 1.3 * slots, "A and B of every slot")
    left_over = overheads.repacking(settings.rules, model, assignment, tp)
    if left_over is not None:
        components["repacking"] = left_over
    components["activation"] = peak
    components["non_torch"] = overheads.non_torch(
        settings.rules,
        overheads.communicating(model, deployment),
        deployment.pipeline_parallel_size,
        gpu,
    )
    if eager:
        return Budget(components, None)
    sizes = overheads.capture_sizes(
        settings.rules, model, settings.max_num_seqs, settings.speculative_tokens
    )
    graphs = overheads.cuda_graphs(settings.rules, model, len(span), sizes, tp)
    if settings.rules.graphs_in_budget and (
        not second or settings.rules.second_runner_counts_graphs
    ):
        components["cuda_graphs"] = overheads.graph_estimate(graphs)
    return Budget(components, graphs)


def load(
    model: Model,
    deployment: Deployment,
    options: VllmOptions,
    assignment: Assignment,
    spans: list[range],
    index: int,
    config: Mapping[str, Any] | None,
) -> Loaded:
    """The weights of that stage, whatever the batch."""
    rules = rules_of(options.version)
    first, last = ends_of(model, index, len(spans), rules)
    return loaded_weights(
        model, deployment, assignment, spans[index], first=first, last=last, config=config,
        mtp=drafts_itself(options) and index == len(spans) - 1,
        absorbs=rules.absorbs_latent_projections,
    )  # fmt: skip


def in_cpu_memory(
    assignment: Assignment, deployment: Deployment, options: VllmOptions, span: range
) -> int:
    """Weights of a rank that --cpu-offload-gb keeps off its GPU."""
    limit = int((options.cpu_offload_gb or 0) * GIB)
    return offloaded_bytes(assignment, deployment, span, limit) if limit else 0


def _in_layout(
    loaded: Loaded,
    rules: Rules,
    marlin: bool | None,
    assignment: Assignment,
    deployment: Deployment,
    span: range,
) -> tuple[Loaded, float]:
    """Weights as the kernels for MXFP4 experts hold them, and the share another layout may add.

    marlin: whether Marlin's kernels run them, None where that is not known.
    """
    if not has_packed_experts(assignment):
        return loaded, 0
    to_marlin = marlin_padding(assignment, deployment, span)
    if marlin:
        return replace(loaded, rounding=loaded.rounding + to_marlin), 0
    if not rules.since(15):
        loaded = replace(loaded, rounding=loaded.rounding - MXFP4_FIXED_BYTES)
        to_marlin += MXFP4_FIXED_BYTES
    return loaded, to_marlin / loaded.total if marlin is None else 0


def _weights(
    loaded: Loaded, tower: Tower | None, tp: int, wider: float, on_cpu: int, error: float
) -> Estimate:
    """Exact for text models to the last printed digit; wider: the share that repacking may add."""
    high = 1 + error + wider
    if on_cpu:
        size = loaded.total - on_cpu + (2 * tower.parameters // tp if tower else 0)
        return within(size, 0.98 * size, (high + 0.01) * size, SOURCE + IN_CPU_MEMORY)
    if tower is None:
        size = loaded.total
        return within(size, (1 - error) * size, high * size, SOURCE)
    whole = 2 * tower.parameters
    share = whole // tp
    size = loaded.total + share
    return within(
        size, (1 - error) * loaded.total + 0.9 * share, high * loaded.total + whole,
        SOURCE + WITH_TOWER,
    )  # fmt: skip


def _shares_embedding(options: VllmOptions, settings: Settings, deployment: Deployment) -> bool:
    """Heads read the target's embedding since 0.9 (vllm#17326), where one rank has both."""
    speculative = options.speculative_config
    return (
        speculative is not None
        and speculative.method in HEADS
        and settings.rules.since(SHARED_SINCE)
        and deployment.pipeline_parallel_size == 1
    )


def drafts_itself(options: VllmOptions) -> bool:
    """Multi-token prediction by the model's own layers."""
    return options.speculative_config is not None and options.speculative_config.method == "mtp"


def has_packed_experts(assignment: Assignment) -> bool:
    """Whether experts are MXFP4, whose kernels differ in padding and workspace."""
    return any(
        weight.role == "expert" and fmt.name == "mxfp4"
        for part in assignment.layers
        for weight, fmt in part.weights
    )
