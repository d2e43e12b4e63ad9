"""vLLM 0.6 to 0.33: what it will allocate, print and refuse.

    figures = vllm_figures(model, gpu, Deployment(), VllmOptions(version="0.19.1"))
    figures.kv_cache.bytes, figures.kv_cache_tokens, figures.log_lines

KV = ceil(total x gpu_memory_utilization) - weights - activation - non-torch (- graphs from 0.20).
The CUDA context is outside this budget and must fit beside it.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from planner.deployment import Deployment
from planner.engines.checkpoint import checkpoint_of
from planner.engines.drafter import check_fits, self_drafting
from planner.engines.engine import EngineFigures, exactly, within
from planner.engines.extended import extended, notes_on
from planner.engines.loaded_weights import mtp_bytes
from planner.engines.vllm import notes as vllm_notes
from planner.engines.vllm import overheads
from planner.engines.vllm.budget import (
    Budget,
    drafts_itself,
    has_packed_experts,
    in_cpu_memory,
    stage_budget,
)
from planner.engines.vllm.checks import check_values, needs_half, own_dtype
from planner.engines.vllm.command import QUANTISED_ON_LOAD, scaling_flags, serve_command
from planner.engines.vllm.compressed import is_compressed
from planner.engines.vllm.log import log_lines
from planner.engines.vllm.options import Settings, VllmOptions, resolve
from planner.engines.vllm.pool import Pool, align, make_pool
from planner.engines.vllm.refusals import before_start, cache_beyond_memory, in_warm_up
from planner.engines.vllm.requests import most_running, requests_in
from planner.engines.vllm.runner import wrapper_of
from planner.engines.vllm.specs import layer_specs
from planner.engines.vllm.versions import rules_of
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import LayerGroup, Model
from planner.parallelism import check, stage_spans
from planner.run_dtype import as_run
from planner.units import GIB
from planner.workload import Workload

NAME = "vllm"
ACTIVATION = "activation"


def vllm_figures(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: VllmOptions,
    workload: Workload | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    draft: Model | None = None,
    name: str | None = None,
) -> EngineFigures:
    """The figures of the rank that binds.

    config: the model's own, for what a text model leaves out (vision tower, rotary scaling, state
    dtype). draft: the model that `speculative_config` drafts with. name: for the command.
    Raises PlanRefused where inputs contradict each other; what vLLM itself would refuse is in
    `refused`.
    """
    check(model, deployment)
    model, config, longer = extended(model, config, workload, options.max_model_len)
    if longer is not None:
        options = options.model_copy(update={"max_model_len": longer.context_tokens})
    if drafts_itself(options):
        model = self_drafting(model)
    model = as_run(model, "auto", own_dtype(model, gpu, rules_of(options.version)))
    checkpoint = checkpoint_of(name or model.source, model, deployment, QUANTISED_ON_LOAD)
    model = as_run(model, deployment.weights_dtype)
    settings = resolve(model, gpu, options, deployment.kv_cache_dtype, wrapper_of(config))
    check_values(model, gpu, deployment, options, settings)
    drafted = _draft(model, options, draft)
    assignment = assign(model, deployment.weights_dtype)
    spans = stage_spans(model.num_hidden_layers, deployment.pipeline_parallel_size)
    budget = math.ceil(gpu.memory_bytes * settings.gpu_memory_utilization)
    stages = [
        stage_budget(model, gpu, deployment, options, settings, assignment, spans, i, config, draft)
        for i in range(len(spans))
    ]
    on_cpu = [in_cpu_memory(assignment, deployment, options, span) for span in spans]
    ranks = deployment.gpus // deployment.pipeline_parallel_size
    left = [options.kv_cache_memory_bytes or budget - stage.spent for stage in stages]
    numbered = layer_specs(model, deployment, settings, config=config, extra=drafted)
    specs = align(
        [spec for _, spec in numbered],
        settings.rules,
        states_per_block=settings.prefix_caching,
        export_step=settings.export_step or 1,
    )
    pool_of = partial(
        make_pool,
        specs,
        rules=settings.rules,
        max_model_len=settings.max_model_len,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        decode_context_parallel_size=deployment.decode_context_parallel_size,
        hybrid=settings.hybrid,
        stages=[
            range(
                sum(1 for layer, _ in numbered if layer < span.start),
                sum(1 for layer, _ in numbered if layer < span.stop),
            )
            for span in spans
        ],
        num_gpu_blocks_override=options.num_gpu_blocks_override,
        overlap=settings.overlap,
        retained_tokens=settings.retained_tokens,
    )
    pool = pool_of(left)
    fixed = options.kv_cache_memory_bytes is not None
    spent = [stage.spent for stage in stages]
    binding = spent.index(max(spent)) if fixed else left.index(min(left))
    stage = stages[binding]
    before = overheads.before(
        overheads.communicating(model, deployment),
        deployment.pipeline_parallel_size,
        moe=model.has_experts,
    )
    least, usual = before.low_bytes + stage.least_spent, before.bytes + stage.spent
    refused = (
        before_start(gpu, budget, before, settings)
        or (cache_beyond_memory(gpu, least, left[binding]) if fixed else None)
        or pool.refused
        or in_warm_up(
            gpu,
            stage.least_spent + left[binding] if fixed else budget,
            before,
            _outside(stage).get("cuda_graphs"),
            model,
            settings,
            packed=has_packed_experts(assignment),
            ranks=deployment.gpus,
            tensor_parallel_size=deployment.tensor_parallel_size,
        )
    )
    cache = _left(left[binding], stage, fixed=fixed)
    other_end = cache.low_bytes if refused is None else cache.high_bytes
    otherwise = pool_of([size + other_end - cache.bytes for size in left])
    kept = pool if refused is None else Pool()
    admitted = requests_in(kept, settings, workload, deployment)
    return EngineFigures(
        name=NAME,
        replicas=deployment.data_parallel_size,
        version=options.version,
        budget_bytes=budget,
        components=stage.components,
        kv_cache=cache,
        block_size=kept.block_size or settings.block_size,
        num_blocks=kept.num_blocks,
        kv_cache_tokens=kept.kv_cache_tokens,
        max_concurrency=kept.max_concurrency,
        blocks_per_request=kept.blocks_per_request,
        requests=min(admitted, most_running(settings, workload)),
        settings=_printed(settings, options),
        command=serve_command(
            checkpoint, model, deployment, options, half=needs_half(model, gpu),
            scaling=() if longer is None else scaling_flags(longer, config, options.version),
        ),
        refused=refused,
        doubtful=refused == pool.refused
        and (
            (refused is None) != (otherwise.refused is None)
            or (fixed and usual + left[binding] > gpu.memory_bytes)
        ),
        log_lines=log_lines(stage.components, left[binding], kept, settings),
        notes=notes_on(longer, model, workload, options.max_model_len)
        + vllm_notes.general(model, gpu, options, settings, refused, checkpoint.note)
        + vllm_notes.plugins(assignment.bytes_by_format(), assignment.method, settings.rules)
        + vllm_notes.drafting(model, deployment, settings, drafted)
        + vllm_notes.longest(options, settings, workload)
        + vllm_notes.more_waiting(admitted, most_running(settings, workload))
        + vllm_notes.given_back(kept, settings, deployment)
        + vllm_notes.product(kept, settings)
        + vllm_notes.offloaded(on_cpu[binding], gpu),
        host_bytes=int((options.kv_offloading_size or 0) * GIB) + ranks * sum(on_cpu),
        binding_stage=binding,
        outside_budget={"before": before, **_outside(stage)},
        drafts=bool(drafted) or draft is not None,
        mtp_bytes=mtp_bytes(model, deployment, binding) if drafts_itself(options) else 0,
    )  # fmt: skip


def _draft(model: Model, options: VllmOptions, draft: Model | None) -> tuple[LayerGroup, ...]:
    """Layers whose cache the drafting adds to the pool."""
    speculative = options.speculative_config
    if speculative is None:
        return ()
    if speculative.method not in ("ngram", "suffix") and is_compressed(model):
        raise PlanRefused(
            f"speculative_config: what drafting layers of {model.model_type} cache in vLLM is not "
            "described; use ngram"
        )
    if speculative.method == "mtp":
        if not model.mtp:
            raise PlanRefused(
                "speculative_config: the model has no multi-token-prediction layers that are "
                "sized; use ngram, eagle or a draft model"
            )
        return model.mtp
    if speculative.needs_draft and draft is None:
        raise PlanRefused(
            f"speculative_config: {speculative.method} needs its 'model': a preset or "
            "known head (list heads), or the config.json or folder of what drafts"
        )
    if draft is None:
        return ()
    check_fits(draft, model, speculative.method)
    return tuple(group for group in draft.groups if group.mixers)


def _left(size: int, stage: Budget, *, fixed: bool) -> Estimate:
    """The cache. Components deviate as if independent (root of squares), but for the activation's
    low end: which sampler runs is no error but one of two cases, and is added whole."""
    if fixed:
        return exactly(size, "kv_cache_memory_bytes")
    parts = stage.components
    below = math.isqrt(sum((part.high_bytes - part.bytes) ** 2 for part in parts.values()))
    above = math.isqrt(
        sum(
            (part.bytes - part.low_bytes) ** 2 for name, part in parts.items() if name != ACTIVATION
        )
    )
    above += parts[ACTIVATION].bytes - parts[ACTIVATION].low_bytes
    return within(size, size - below, size + above, "budget less its components")


def _outside(stage: Budget) -> dict[str, Estimate]:
    if stage.graphs is None or "cuda_graphs" in stage.components:
        return {}
    return {"cuda_graphs": stage.graphs}


def _printed(
    settings: Settings, options: VllmOptions
) -> dict[str, int | float | bool | str | None]:
    """The values in force, by flag."""
    return {
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "enable_prefix_caching": settings.prefix_caching,
        "enforce_eager": options.enforce_eager,
        "kv_cache_memory_bytes": options.kv_cache_memory_bytes,
    }
