"""EngineFigures as plain data, lines of text and Markdown sections."""

from typing import Any

from planner.engines.engine import EngineFigures
from planner.estimate import Estimate
from planner.units import format_bytes, format_tokens


def engine_data(figures: EngineFigures) -> dict[str, Any]:
    """The `engine` part of a plan's JSON. Bytes are of one GPU, the rank that binds."""
    return {
        "name": figures.name,
        "version": figures.version,
        "settings": figures.settings,
        "budget_bytes": figures.budget_bytes,
        "weights_bytes": sum(
            figures.bytes_of(part) for part in ("weights", "draft_weights", "lora_slots")
        ),
        "activation_bytes": figures.bytes_of("activation"),
        "non_torch_bytes": figures.bytes_of("non_torch"),
        "cuda_graph_bytes": figures.bytes_of("cuda_graphs"),
        "kv_cache_bytes": figures.kv_cache.bytes,
        "components": {name: _estimate(e) for name, e in figures.components.items()},
        "outside_budget": {name: _estimate(e) for name, e in figures.outside_budget.items()},
        "kv_cache": _estimate(figures.kv_cache),
        "block_size": figures.block_size,
        "num_blocks": figures.num_blocks,
        "kv_cache_tokens": figures.kv_cache_tokens,
        "max_concurrency": figures.max_concurrency,
        "blocks_per_request": figures.blocks_per_request,
        "requests": figures.requests,
        "binding_stage": figures.binding_stage,
        "host_bytes": figures.host_bytes,
        "command": figures.command,
        "refused": figures.refused,
        "log_lines": list(figures.log_lines),
        "notes": list(figures.notes),
    }


def engine_text(figures: EngineFigures) -> str:
    """Lines for a terminal: the budget, the pool, what will be printed, the command."""
    lines = [f"{figures.name} {figures.version}, one GPU"]
    lines += [f"    {label:<28}{size:>14}  {span}" for label, size, span, _ in engine_rows(figures)]
    lines.append(f"  {summary(figures)}")
    lines += [f"  log: {line}" for line in figures.log_lines]
    lines += [f"  {figures.command}"]
    return "\n".join(lines)


def summary(figures: EngineFigures) -> str:
    """The pool in a sentence, or the refusal."""
    if figures.refused is not None:
        return f"{figures.name} {figures.version} would refuse: {figures.refused}"
    length = figures.settings.get("max_model_len")
    of_length = f" of {length:,} tokens" if isinstance(length, int) else ""
    return (
        f"{format_tokens(figures.kv_cache_tokens)} tokens in {figures.num_blocks:,} blocks of "
        f"{figures.block_size}; {figures.max_concurrency:.2f} sequences{of_length}, "
        f"{figures.requests:,} of this workload"
    )


def engine_rows(figures: EngineFigures) -> list[tuple[str, str, str, str]]:
    """Label, size, range and source of every part of the budget, the cache last."""
    parts = {"budget": Estimate(*(3 * (figures.budget_bytes,)), "memory x utilisation")}
    parts |= figures.components
    parts["KV cache"] = figures.kv_cache
    parts |= {f"{name} (outside)": e for name, e in figures.outside_budget.items()}
    return [
        (
            name.replace("_", " "),
            format_bytes(e.bytes),
            f"{format_bytes(e.low_bytes)} to {format_bytes(e.high_bytes)}" if e.is_range else "",
            e.source,
        )
        for name, e in parts.items()
    ]


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "bytes": estimate.bytes,
        "low_bytes": estimate.low_bytes,
        "high_bytes": estimate.high_bytes,
        "source": estimate.source,
    }
