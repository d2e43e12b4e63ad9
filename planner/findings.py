"""What a person should know about a plan, as data: a severity, a code, a sentence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from planner.formats.format_support import lacks_bf16, missing, weights_support
from planner.kinds.attention import Attention
from planner.memory import total_bytes
from planner.overheads import moved
from planner.plan import Plan
from planner.positions import beyond_stated, reach
from planner.timing.passes import attention_share
from planner.units import counted, format_bytes, format_tokens

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    severity: Severity
    code: str
    message: str


def findings(plan: Plan) -> tuple[Finding, ...]:
    """Findings in order of weight: errors, warnings, information."""
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(_all(plan), key=lambda finding: order[finding.severity]))


def _all(plan: Plan) -> Iterator[Finding]:
    yield from _fit(plan)
    yield from _context(plan)
    yield from _load(plan)
    yield from _model(plan)
    yield from _parallelism(plan)
    yield from _attention(plan)
    yield from _hardware(plan)


def _fit(plan: Plan) -> Iterator[Finding]:
    low, high = plan.range_bytes
    memory = plan.gpu.memory_bytes
    if not plan.fits:
        short = format_bytes(-plan.headroom_bytes)
        yield Finding("error", "does_not_fit", f"The fullest GPU is {short} short.")
        if plan.stage.weights_bytes > memory:
            size = format_bytes(plan.stage.weights_bytes)
            yield Finding(
                "error", "weights_do_not_fit", f"The weights alone take {size} of each GPU."
            )
        if low <= memory:
            yield Finding(
                "info",
                "might_fit",
                "With every estimate at its low end it would fit: measure before you give up.",
            )
    elif high > memory:
        over = format_bytes(high - memory)
        yield Finding(
            "warning",
            "tight",
            f"It fits by the central estimates only: at their high end it is {over} short.",
        )

    work = plan.workload
    alone = total_bytes(plan.footprint, work.model_copy(update={"shared_prefix_tokens": 0}))
    if plan.fits and alone > memory:
        yield Finding(
            "warning",
            "prefix_needed",
            f"It fits only while all sequences share their first "
            f"{format_tokens(min(work.shared_prefix_tokens, work.context))} tokens: without that "
            f"it would be {format_bytes(alone - memory)} short.",
        )


def _context(plan: Plan) -> Iterator[Finding]:
    trained = plan.model.max_position_embeddings
    yield from _positions(plan)
    sequences = plan.sequences_per_replica
    if plan.parts.block_rounding * 20 > plan.parts.kv_cache > 0:
        share = 100 * plan.parts.block_rounding / plan.parts.kv_cache
        yield Finding(
            "warning",
            "block_rounding",
            f"Blocks of {plan.deployment.block_size} tokens waste {share:.0f} % of the cache at "
            "this length: choose a smaller block size.",
        )
    over = plan.waste.over_reserved_bytes
    each = " on each replica" if plan.deployment.data_parallel_size > 1 else ""
    if over and sequences > 1:
        yield Finding(
            "info",
            "paging",
            f"Reserving {format_tokens(trained or plan.workload.context)} tokens for every "
            f"sequence would waste {format_bytes(over)}{each}; paging wastes "
            f"{format_bytes(plan.waste.rounding_bytes)}{each}.",
        )


def _positions(plan: Plan) -> Iterator[Finding]:
    found, context = reach(plan.model), plan.workload.context
    asked = format_tokens(context)
    beyond = beyond_stated(plan.model, context)
    if beyond is not None:
        yield Finding("error" if found.hard else "warning", "beyond_stated_context", beyond)
    elif found.trained_tokens is not None and context > found.trained_tokens:
        trained = format_tokens(found.trained_tokens)
        yield Finding(
            "info",
            "beyond_trained_context",
            f"{asked} tokens are beyond the {trained} the model saw before its positions were "
            f"extended. {found.sentence}",
        )
    seen = found.seen_by_windows
    if seen is not None and context > seen:
        yield Finding(
            "warning",
            "beyond_windows",
            f"Every layer has a window, so nothing further back than {format_tokens(seen)} tokens "
            f"reaches an answer: of {asked} tokens the first {format_tokens(context - seen)} are "
            "lost to it.",
        )
    elif seen is not None and context > (widest := _widest_window(plan)):
        yield Finding(
            "info",
            "windows_only",
            f"No layer sees further back than {format_tokens(widest)} tokens: of {asked}, earlier "
            f"ones reach an answer only through the layers below, and none from beyond "
            f"{format_tokens(seen)}.",
        )


def _widest_window(plan: Plan) -> int:
    """Of a model whose layers all have one."""
    return max(t.window for g in plan.model.groups for t in g.cache() if t.window is not None)


def _load(plan: Plan) -> Iterator[Finding]:
    context = plan.workload.context
    longest = reach(plan.model).supported_tokens
    fits_at = plan.max_context_tokens
    if plan.fits and longest and fits_at is not None and context < longest and fits_at < longest:
        yield Finding(
            "info",
            "cache_could_overflow",
            f"Memory holds {_held(plan)} of up to {format_tokens(fits_at)} tokens at once, and "
            f"the model goes on to "
            f"{format_tokens(longest)}: limit their length, or expect preemption beyond.",
        )
    share = attention_share(plan.model, plan.deployment, context)
    if share > 0.5:
        yield Finding(
            "warning",
            "attention_bound_prefill",
            f"Attention is {100 * share:.0f} % of the arithmetic of a prompt of "
            f"{format_tokens(context)} tokens, and doubling the prompt nearly quadruples it: reuse "
            f"prefixes{_or_ring(plan)}. Chunks let other requests' steps in between and leave that "
            "arithmetic as it is.",
        )


def _held(plan: Plan) -> str:
    """The plan's sequences, each replica's part beside the total where there are several."""
    total, replicas = plan.workload.concurrency, plan.deployment.data_parallel_size
    if replicas == 1:
        return counted(total, "sequence")
    each = plan.sequences_per_replica
    return f"{counted(total, 'sequence')} in {replicas:,} replicas ({each:,} in the fullest)"


def _or_ring(plan: Plan) -> str:
    """A ring needs more than one GPU, and is no advice to a plan that has one."""
    several = plan.deployment.gpus > 1
    ringed = plan.deployment.context_parallel_size > 1
    return ", or spread prompts over a ring of the GPUs" if several and not ringed else ""


def _model(plan: Plan) -> Iterator[Finding]:
    if plan.parameters.towers:
        yield Finding(
            "info",
            "tower_counted",
            f"The vision tower's {plan.parameters.towers:,} parameters are counted with the "
            "weights; its working memory is not.",
        )
    for tower in plan.model.parameters_elsewhere:
        name = tower.removesuffix("_config")
        yield Finding(
            "warning",
            "tower_not_counted",
            f"The {name} tower's weights and working memory are not counted by bytes: "
            "leave room for them, or serve text only.",
        )
    expanded = plan.kv_bytes_per_token_expanded
    if expanded is not None:
        yield Finding(
            "info",
            "latent_cache",
            f"The cache holds latents, {format_bytes(plan.kv_bytes_per_token)} per token; an "
            f"engine that expands them to all heads would need {format_bytes(expanded)}.",
        )
    if plan.parameters.mtp:
        yield Finding(
            "info",
            "mtp_not_loaded",
            f"Multi-token-prediction layers ({plan.parameters.mtp:,} parameters) are left out "
            "here. An engine loads them only to draft with; its own figures then count them.",
        )
    for note in (*plan.model.notes, *plan.footprint.assignment.notes):
        yield Finding("info", "model", note)
    if plan.state_bytes_per_sequence:
        yield Finding(
            "info",
            "recurrent_state",
            f"{format_bytes(plan.state_bytes_per_sequence)} of recurrent state per sequence, "
            "whatever its length.",
        )


def _parallelism(plan: Plan) -> Iterator[Finding]:
    tp, dcp = (
        plan.deployment.tensor_parallel_size,
        plan.deployment.decode_context_parallel_size,
    )
    heads = [t.heads for group in plan.model.groups for t in group.cache()]
    fewest = min(heads, default=tp)
    copies = tp // (fewest * dcp)
    if copies > 1 and dcp > 1:
        yield Finding(
            "warning",
            "cache_kept_several_times",
            f"{tp} tensor-parallel GPUs share {counted(fewest, 'KV head')}, split "
            f"{dcp} ways by its tokens: it is kept {copies} times.",
        )
    elif copies > 1 and fewest == 1:
        yield Finding(
            "warning",
            "cache_replicated",
            f"Part of the cache is one KV head or latent that all heads share, so each of the {tp} "
            "tensor-parallel GPUs keeps all of it: data parallel attention or decode context "
            "parallelism would not.",
        )
    elif fewest < tp and dcp == 1:
        yield Finding(
            "warning",
            "kv_heads_replicated",
            f"{tp} tensor-parallel GPUs share {fewest} KV heads: past {fewest} GPUs the cache "
            "per GPU no longer shrinks.",
        )
    totals = [part.total for part in plan.stage_parts]
    if max(totals) > 1.1 * min(totals):
        yield Finding(
            "info",
            "uneven_stages",
            f"Pipeline stages are uneven: {format_bytes(min(totals))} to "
            f"{format_bytes(max(totals))} per GPU.",
        )


def _attention(plan: Plan) -> Iterator[Finding]:
    windows = {
        m.window for g in plan.model.groups for m in g.mixers if isinstance(m, Attention)
    } - {None}
    past, full = plan.kv_bytes_per_token_past_windows, plan.kv_bytes_per_token
    if windows and past < full:
        yield Finding(
            "info",
            "windows",
            f"Past its window a token costs {format_bytes(past)} instead of {format_bytes(full)}.",
        )


def _hardware(plan: Plan) -> Iterator[Finding]:
    gpu = plan.gpu
    if not gpu.memory_verified:
        yield Finding(
            "warning",
            "gpu_memory_unverified",
            f"What a program can allocate on {gpu.name} was not read on one: the figure used is "
            f"{format_bytes(gpu.memory_bytes)}, and the driver keeps 1 to 5 % of such figures.",
        )
    if gpu.memory_shared_with_cpu:
        yield Finding(
            "warning",
            "shared_memory",
            "This memory is shared with the operating system and other programs.",
        )
    if plan.model.dtype == "bfloat16" and lacks_bf16(gpu):
        yield Finding(
            "warning",
            "bf16_not_supported",
            f"bf16 needs compute capability 8.0, and {gpu.name} has {gpu.compute_capability}: run "
            "the model as float16 (--dtype half in vLLM), which takes the same memory.",
        )
    if gpu.calibration is not None:
        label, own = gpu.calibration.label, gpu.calibration
        changes = [
            f"{name} {format_bytes(before)} to {format_bytes(after)}"
            for name, before, after in moved(own.memory)
            if before != after
        ]
        if own.roofs is not None and own.points:
            changes.append("times from its measured kernels")
        said = ", ".join(changes) or "nothing moved"
        yield Finding("info", "calibrated", f"{label[:1].upper()}{label[1:]}: {said}.")
    elif gpu.vendor not in ("NVIDIA", "custom"):
        yield Finding(
            "warning",
            "overheads_borrowed",
            f"Context, libraries and communication were measured on NVIDIA cards, not on a card of "
            f"{gpu.vendor}: their ranges are widened to half and twice as far, so measure before "
            "you rely on a tight fit.",
        )
    yield from _formats(plan)


def _formats(plan: Plan) -> Iterator[Finding]:
    gpu, cache = plan.gpu, plan.footprint.kv_format.name
    weights = plan.footprint.assignment.bytes_by_format()
    without = missing(gpu, weights, cache)
    if without is not None:
        yield Finding(
            "error",
            "format_without_kernels",
            f"{without}: the bytes are right, but no engine runs it there. Choose another format "
            "or card.",
        )
    for name in weights:
        if weights_support(gpu, name) == "weight-only":
            yield Finding(
                "info",
                "format_not_native",
                f"{gpu.name} has no {name} arithmetic: weights run weight-only, which saves memory "
                "and bandwidth, and are converted before each multiplication.",
            )
