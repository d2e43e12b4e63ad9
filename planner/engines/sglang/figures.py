"""SGLang: a fraction of the free memory for weights and cache, the rest for everything else.

    figures = sglang_figures(model, gpu, Deployment(), SglangOptions())
    figures.kv_cache_tokens, figures.log_lines

KV = free before loading x mem_fraction_static - what loading took. Activations, graphs and the
table of requests come out of the share that the fraction leaves. Sizes that SGLang prints as GB
are GiB. Source: SGLang 0.5.23, older ones in `fraction`; records: start-up logs on H100, H200,
B200, MI300X, MI355X and 16 and 24 GB cards.
"""

import math
from collections.abc import Mapping
from typing import Any

from planner import overheads
from planner.activations import activation_terms
from planner.deployment import Deployment
from planner.engines.cache_dtypes import E5M2, check_cache_dtype, check_length
from planner.engines.checkpoint import checkpoint_of
from planner.engines.drafter import self_drafting
from planner.engines.engine import WITHOUT_DRAFT, EngineFigures, exactly, within
from planner.engines.extended import extended, notes_on
from planner.engines.loaded_weights import mtp_bytes
from planner.engines.sglang.command import QUANTISED_ON_LOAD, launch_command, scaling_flags
from planner.engines.sglang.fraction import GRAPHS_SINCE, version_of
from planner.engines.sglang.log import log_lines
from planner.engines.sglang.notes import notes
from planner.engines.sglang.options import (
    Settings,
    SglangOptions,
    max_running_requests,
    prefill_graphs_mib,
    resolve,
)
from planner.engines.sglang.pool import (
    SglangPool,
    draft_layers,
    make_pool,
)
from planner.engines.sglang.rank import (
    Rank,
    context_of,
    drafting,
    drafts_in_pool,
    feed_forward_of,
    rank_of,
)
from planner.engines.stages import left_of, shared_requests, stages
from planner.estimate import Estimate
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import check
from planner.run_dtype import as_run
from planner.units import GIB, MIB, ceil_div
from planner.workload import Workload

NAME = "sglang"
CACHES = ("fp8", E5M2, "bf16", "nvfp4")
WORKSPACE = within(384 * MIB, 128 * MIB, 512 * MIB, "FlashInfer workspace: 384 to 512 MiB")


def sglang_figures(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: SglangOptions,
    workload: Workload | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    draft: Model | None = None,
    name: str | None = None,
) -> EngineFigures:
    """The figures of the rank that binds.

    config: the model's own, for towers and rotary scaling. draft: the model of
    --speculative-draft-model-path. Raises PlanRefused where inputs contradict each other.
    """
    check(model, deployment)
    model, config, longer = extended(model, config, workload, options.context_length)
    if longer is not None:
        options = options.model_copy(update={"context_length": longer.context_tokens})
    if options.drafts_itself:
        model = self_drafting(model)
    model = as_run(model, "auto", own_dtype(model))
    checkpoint = checkpoint_of(name or model.source, model, deployment, QUANTISED_ON_LOAD)
    model = as_run(model, deployment.weights_dtype)
    check_cache_dtype("SGLang", CACHES, model, deployment)
    check_length(
        "SGLang", "context_length", options.context_length, model,
        "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1 is set",
    )  # fmt: skip
    settings = resolve(model, gpu, deployment, options, config)
    context = context_of(deployment, gpu)
    free = gpu.memory_bytes - context.bytes
    budget = int(free * settings.mem_fraction_static)
    ranks = [
        rank_of(stage, model, deployment, options, draft, budget)
        for stage in stages(
            model,
            deployment,
            config,
            mtp=options.drafts_itself and drafts_in_pool(options),
            feed_forward=feed_forward_of(deployment),
        )
    ]
    pools = [make_pool(max(0, r.left), r.cell, r.state, options, model) for r in ranks]
    binding = min(range(len(ranks)), key=lambda i: (pools[i].tokens, ranks[i].left))
    rank, pool = ranks[binding], pools[binding]
    refused = _refused(rank, pool, settings, free)
    kept = pool if refused is None else SglangPool(0)
    components = dict(rank.components)
    if kept.states_bytes:
        components["states"] = exactly(kept.states_bytes, f"{kept.states:,} recurrent states")
    running = options.max_running_requests or max_running_requests(
        kept.tokens, settings.context_length
    )
    if kept.states:
        running = min(running, kept.states // kept.states_per_request)
    outside = _outside(model, rank, deployment, options, settings, context, running)
    apart = drafting(model, draft, deployment, options, rank, kept.tokens)
    if apart is not None:
        outside["drafting"] = apart
    return EngineFigures(
        name=NAME,
        replicas=deployment.data_parallel_size,
        version=options.version,
        budget_bytes=budget,
        components=components,
        kv_cache=_kv_cache(rank, kept, model, options, settings, context),
        block_size=options.page_size,
        num_blocks=kept.tokens // options.page_size,
        kv_cache_tokens=kept.tokens,
        max_concurrency=kept.tokens / settings.context_length,
        blocks_per_request=ceil_div(settings.context_length, options.page_size),
        requests=_requests(kept, rank, options, settings, workload, running),
        settings=_settings(options, settings, running),
        command=launch_command(
            checkpoint, model, deployment, options,
            () if longer is None else scaling_flags(longer, config),
        ),
        refused=refused,
        log_lines=log_lines(model, rank.cell, components, kept, settings, options, free, running),
        notes=(
            *notes_on(longer, model, workload, options.context_length),
            *([checkpoint.note] if checkpoint.note else []),
            *notes(kept, rank.cell, settings, outside, gpu),
            *([WITHOUT_DRAFT] if draft_layers(options, model, draft) else []),
        ),
        binding_stage=binding,
        outside_budget=outside,
        drafts=bool(draft_layers(options, model, draft)),
        mtp_bytes=mtp_bytes(model, deployment, binding)
        if options.drafts_itself and apart is None
        else 0,
    )  # fmt: skip


def own_dtype(model: Model) -> str:
    """What a checkpoint runs in without --dtype; one saved in float32 in float16, but Gemma."""
    if model.saved_dtype is None or model.model_type.startswith("gemma"):
        return model.dtype
    return "float16"


def _kv_cache(
    rank: Rank,
    pool: SglangPool,
    model: Model,
    options: SglangOptions,
    settings: Settings,
    context: Estimate,
) -> Estimate:
    """The cache's bytes; SGLang's own fraction may be lower, where it keeps prefill graphs."""
    share = settings.mem_fraction_static
    before = Estimate(
        int(share * context.bytes), int(share * context.low_bytes), int(share * context.high_bytes),
        context.source,
    )  # fmt: skip
    size = max(0, rank.left - pool.states_bytes)
    parts = [*rank.components.values(), before]
    found = left_of(size, parts, "free memory x fraction less its components")
    lower = found.low_bytes
    if options.mem_fraction_static is None and version_of(options.version) >= GRAPHS_SINCE:
        lower -= int(prefill_graphs_mib(model) * MIB)
    return Estimate(found.bytes, max(0, lower), found.high_bytes, found.source)


def _refused(rank: Rank, pool: SglangPool, settings: Settings, free: int) -> str | None:
    spent = sum(part.bytes for part in rank.components.values())
    if spent > free:
        return (
            f"CUDA out of memory while loading: {spent / GIB:.2f} GiB of weights on a card with "
            f"{free / GIB:.2f} GiB free; use more GPUs or a smaller format."
        )
    if pool.tokens:
        return None
    fraction = math.ceil((spent + pool.states_bytes) / free * 10000) / 10000
    return (
        "Loaded weights leave no GPU memory for the KV cache under "
        f"--mem-fraction-static={settings.mem_fraction_static}. Weights alone take "
        f"{fraction:.4f} of the free memory."
    )


def _outside(
    model: Model,
    rank: Rank,
    deployment: Deployment,
    options: SglangOptions,
    settings: Settings,
    context: Estimate,
    running: int,
) -> dict[str, Estimate]:
    """What comes out of the share that mem_fraction_static leaves, and the context before it."""
    terms = activation_terms(
        model, list(rank.stage.groups), tensor_parallel_size=deployment.tensor_parallel_size,
        expert_parallel=deployment.enable_expert_parallel, last_stage=rank.stage.last,
    )  # fmt: skip
    found = {
        "before": context,
        "activation": terms.layers(settings.chunked_prefill_size),
        "workspace": WORKSPACE,
        "request_table": exactly(
            4 * running * (settings.context_length + 4), "int32 slot of every request's tokens"
        ),
    }
    if not options.disable_cuda_graph:
        found["cuda_graphs"] = overheads.GRAPHS
    return found


def _requests(
    pool: SglangPool,
    rank: Rank,
    options: SglangOptions,
    settings: Settings,
    workload: Workload | None,
    running: int,
) -> int:
    if not pool.tokens:
        return 0
    work = workload or Workload(context=settings.context_length)
    context = min(work.context, settings.context_length)
    page = options.page_size
    common = 0 if options.disable_radix_cache else work.shared_prefix_tokens // page * page
    found = shared_requests(
        pool.tokens, ceil_div(context, page) * page, min(common, context), work.beam_width,
        min(work.prompt_tokens or 0, context),
    )  # fmt: skip
    if pool.sliding_tokens:
        found = min(found, pool.sliding_tokens // min(context, rank.cell.window + page))
    return min(found, running // work.beam_width)


def _settings(
    options: SglangOptions, settings: Settings, running: int
) -> dict[str, int | float | bool | str | None]:
    return {
        "mem_fraction_static": settings.mem_fraction_static,
        "max_model_len": settings.context_length,
        "max_num_seqs": running,
        "max_num_batched_tokens": settings.chunked_prefill_size,
        "cuda_graph_max_bs": settings.cuda_graph_max_bs,
        "page_size": options.page_size,
        "disable_radix_cache": options.disable_radix_cache,
    }
