"""What a context asks of its model: positions, windows, reservations, attention."""

from collections.abc import Iterator

from planner.findings.finding import Finding
from planner.kinds.attention import Attention
from planner.plan import Plan
from planner.positions import beyond_stated, reach
from planner.rope.words import remedy
from planner.timing.passes import attention_share
from planner.units import counted, format_bytes, format_tokens


def of_context(plan: Plan) -> Iterator[Finding]:
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
    if beyond is not None and found.hard:
        yield Finding("error", "beyond_stated_context", beyond)
    elif beyond is not None:
        message = f"{beyond} {remedy(plan.model, context)}"
        yield Finding("warning", "beyond_stated_context", message)
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


def of_load(plan: Plan) -> Iterator[Finding]:
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


def of_attention(plan: Plan) -> Iterator[Finding]:
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
