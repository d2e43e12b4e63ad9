"""EngineFigures as plain data, lines of text and Markdown sections."""

from typing import Any

from planner.engines.engine import EngineFigures
from planner.engines.registry import called
from planner.estimate import Estimate
from planner.units import format_bytes, format_tokens

LABELS = {
    "budget": "Budget",
    "weights": "Weights",
    "draft_weights": "Draft model",
    "drafting": "Draft model and its cache",
    "lora_slots": "LoRA slots",
    "repacking": "Repacked weights",
    "states": "Recurrent states",
    "activation": "Peak activation",
    "non_torch": "Communication and libraries",
    "cuda_graphs": "CUDA graphs",
    "kv_cache": "KV cache",
    "before": "In use before the engine starts",
    "workspace": "Attention workspace",
    "request_table": "Table of requests",
}


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
        "replicas": figures.replicas,
        "binding_stage": figures.binding_stage,
        "host_bytes": figures.host_bytes,
        "drafts": figures.drafts,
        "mtp_bytes": figures.mtp_bytes,
        "command": figures.command,
        "config_file": figures.config_file,
        "refused": figures.refused,
        "doubtful": figures.doubtful,
        "remedies": list(figures.remedies),
        "remedies_hold": list(figures.remedies_hold),
        "serving": list(figures.serving),
        "log_lines": list(figures.log_lines),
        "notes": list(figures.notes),
    }


def engine_text(figures: EngineFigures, context: int) -> str:
    """Lines for a terminal, of a workload of that context: the budget, the pool, what will be
    printed, the command."""
    lines = [f"{called(figures.name, figures.version)}, one GPU"]
    lines += [
        f"    {label:<32}{size:>12}  {span}".rstrip()
        for label, size, span, _ in engine_rows(figures)
    ]
    lines += [f"    {name} = {value}" for name, value in setting_rows(figures)]
    lines.append(f"  {summary(figures, context)}")
    lines += [f"  log: {line}" for line in figures.log_lines]
    lines += [f"  note: {note}" for note in figures.notes]
    return "\n".join([*lines, figures.start])


def summary(figures: EngineFigures, context: int) -> str:
    """The pool in a sentence, or the refusal."""
    if figures.refused is not None:
        return f"{called(figures.name, figures.version)} would refuse: {figures.refused}"
    length = figures.settings.get("max_model_len")
    of_length = f" of {length:,} tokens" if isinstance(length, int) else ""
    served = figures.length_served(context)
    cut = "" if served == context else f", each cut to {served:,} tokens"
    return (
        f"{format_tokens(figures.kv_cache_tokens)} tokens in {figures.blocks}; "
        f"{figures.max_concurrency:.2f} sequences{of_length}, "
        f"{figures.requests:,} of this workload{cut}{_over_replicas(figures)}"
    )


def _over_replicas(figures: EngineFigures) -> str:
    if figures.replicas == 1:
        return ""
    each = figures.replicas
    return f" on each of {each:,} data-parallel replicas, {each * figures.requests:,} in all"


def engine_rows(figures: EngineFigures) -> list[tuple[str, str, str, str]]:
    """Label, size, range and source of every part of the budget, the cache last."""
    parts = {"budget": Estimate(*(3 * (figures.budget_bytes,)), "what the engine may use")}
    parts |= figures.components
    parts["kv_cache"] = figures.kv_cache
    named = [(label_of(name), e) for name, e in parts.items()]
    named += [
        (label_of(name) + ("" if name == "before" else ", not in the budget"), e)
        for name, e in figures.outside_budget.items()
    ]
    return [
        (
            name,
            format_bytes(e.bytes),
            f"{format_bytes(e.low_bytes)} to {format_bytes(e.high_bytes)}" if e.is_range else "",
            e.source,
        )
        for name, e in named
    ]


def setting_rows(figures: EngineFigures) -> list[tuple[str, str]]:
    """The engine's settings in force; None is the engine's own choice."""
    return [
        (name, "its own choice" if value is None else str(value))
        for name, value in figures.settings.items()
    ]


def label_of(part: str) -> str:
    """A part of the budget in words."""
    return LABELS.get(part, part.replace("_", " ").capitalize())


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "bytes": estimate.bytes,
        "low_bytes": estimate.low_bytes,
        "high_bytes": estimate.high_bytes,
        "source": estimate.source,
    }
