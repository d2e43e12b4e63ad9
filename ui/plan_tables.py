"""The depth of a plan as HTML tables: derivation, assumptions, model, cache, inputs."""

from planner.explain import COMPONENT_LABELS, derivation, runtime_label
from planner.long_context import costs
from planner.model import kind_name
from planner.parameters import in_words, parts
from planner.plan import Plan
from planner.positions import reach
from planner.units import format_bytes, format_seconds, format_share, format_tokens
from presets.speed import speed_of
from ui import report_markdown
from ui.tables import html_table


def derivation_html(plan: Plan) -> str:
    """Every line of the arithmetic: formula, the same with its numbers, bytes."""
    steps = derivation(plan)
    rows = [
        (s.label, s.formula, s.substitution, f"{s.bytes:,} B", format_bytes(s.bytes)) for s in steps
    ]
    return "<p class='sz-note'>Lines in bold add up to the total of the fullest GPU.</p>" + (
        html_table(
            ("Line", "Formula", "With the numbers", "Bytes", "Size"),
            rows,
            numeric=(3, 4),
            strong=[i for i, s in enumerate(steps) if s.in_total],
            stack=True,
        )
    )


def assumptions_html(plan: Plan) -> str:
    """What is estimated, by how much it may be off, and who measured it."""
    gpu = plan.gpu
    label = None if gpu.calibration is None else gpu.calibration.label
    rows = [
        (
            runtime_label(name) + (" (measured)" if estimate.source == label else " (estimate)"),
            format_bytes(estimate.bytes),
            f"{format_bytes(estimate.low_bytes)} to {format_bytes(estimate.high_bytes)}",
            estimate.source,
        )
        for name, estimate in {"activations": plan.activations, **plan.stage.runtime}.items()
    ]
    rows.append(
        (
            "GPU memory" if gpu.memory_verified else "GPU memory (unverified)",
            format_bytes(gpu.memory_bytes),
            "as read" if gpu.memory_verified else "1 to 5 % less is usual",
            gpu.memory_source,
        )
    )
    note = (
        "<p class='sz-note'>Weights, cache, state and block tables are exact: they follow from the "
        "configuration. What is below is not, and the total is given with its range.</p>"
    )
    return note + html_table(
        ("Assumption", "Value", "Range", "Source"), rows, numeric=(1,), stack=True
    )


def model_html(plan: Plan) -> str:
    """Layers by kind, parameters, and how the weights are stored."""
    model, parameters = plan.model, plan.parameters
    facts = [
        ("Family", model.model_type),
        ("Layers", f"{model.num_hidden_layers}"),
        ("Parameters", f"{parameters.total:,}"),
        ("Active per token", f"{parameters.active:,}"),
        ("In the embedding", f"{parameters.embedding:,}"),
        ("In the output head", f"{parameters.head:,}" if parameters.head else "tied"),
        ("Shares", in_words(parts(model).shares())),
        ("Hidden size", f"{model.hidden_size:,}"),
        ("Vocabulary", f"{model.vocab_size:,}"),
        ("Number format", model.dtype),
        ("Stated context", _tokens(model.max_position_embeddings)),
    ]
    if parameters.mtp:
        facts.append(("Multi-token prediction, not loaded", f"{parameters.mtp:,}"))
    layers = [
        (kind_name(kind), f"{n}", _positions(plan, kind)) for kind, n in model.layer_counts.items()
    ]
    weights = [
        (COMPONENT_LABELS.get(name, name), format_bytes(size))
        for name, size in plan.stage.weights.items()
    ]
    return (
        html_table(("Fact", "Value"), facts, caption="Model")
        + html_table(("Kind of layer", "Layers", "Positions"), layers, caption="Layers")
        + html_table(("Part", "Size"), weights, caption="Weights of the fullest GPU", numeric=(1,))
    )


def _positions(plan: Plan, kind: str) -> str:
    """Positions as ranges: '0–2, 4'."""
    found = sorted(i for g in plan.model.groups if g.kind == kind for i in g.layers)
    if not found:
        return ""
    spans = [[found[0], found[0]]]
    for i in found[1:]:
        if i == spans[-1][1] + 1:
            spans[-1][1] = i
        else:
            spans.append([i, i])
    return ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in spans)


def cache_html(plan: Plan) -> str:
    """The cache paged and preallocated, and attention with and without its score matrix."""
    waste = plan.waste
    paging = [
        ("One token, while windows have room", format_bytes(plan.kv_bytes_per_token)),
        ("One token, past all windows", format_bytes(plan.kv_bytes_per_token_past_windows)),
        ("One sequence at this context", format_bytes(plan.kv_bytes_per_sequence)),
        ("Recurrent state of a sequence", format_bytes(plan.state_bytes_per_sequence)),
        ("All sequences of a replica, written", format_bytes(waste.used_bytes)),
        ("  in blocks: empty ends", format_bytes(waste.rounding_bytes)),
        ("  preallocated at full length: never written", format_bytes(waste.over_reserved_bytes)),
        ("  saved by sharing blocks", format_bytes(plan.shared_bytes)),
    ]
    attention = [
        ("Score matrix of one layer and sequence, if it were stored",
         format_bytes(plan.score_matrix_bytes)),
        ("What flash attention needs instead", format_bytes(plan.flash_workspace_bytes)),
    ]  # fmt: skip
    return html_table(
        ("KV cache of the whole model", "Size"), paging, numeric=(1,), caption="Cache"
    ) + html_table(("Attention", "Size"), attention, numeric=(1,), caption="Working memory")


LENGTHS = tuple(2**e for e in range(11, 28, 2))
LENGTHS_NOTE = (
    "One sequence alone: bytes are exact, times are estimates. Where no window bounds it, "
    "attention grows with the square of the prompt, and all other arithmetic with its length."
)


def lengths_html(plan: Plan) -> str:
    """Cache, prompt and step of one sequence at lengths up to what the model supports."""
    lengths = shown_lengths(plan)
    found = costs(plan.model, plan.gpu, plan.deployment, speed_of(plan.gpu), lengths)
    rows = [
        (
            f"{format_tokens(cost.tokens)} tokens",
            format_bytes(cost.cache_bytes),
            format_seconds(cost.prefill_s),
            format_seconds(cost.decode_s),
            format_share(cost.attention_share),
        )
        for cost in found
    ]
    head = (
        "Length",
        "Cache",
        "Prompt (TTFT)",
        "A step (TPOT)",
        "Attention in the prompt’s arithmetic",
    )
    return f"<p class='sz-note'>{LENGTHS_NOTE}</p>" + html_table(
        head,
        rows,
        numeric=range(1, 5),
        strong=[lengths.index(plan.workload.context)],
        stack=True,
    )


def shown_lengths(plan: Plan) -> list[int]:
    """The plan's context among lengths up to the model's own, or to four times the context."""
    context = plan.workload.context
    most = max(reach(plan.model).supported_tokens or 4 * context, context)
    return sorted({context, most, *(n for n in LENGTHS if n < most)})


def inputs_html(plan: Plan) -> str:
    """Everything the plan was made from, and where the configuration comes from."""
    return html_table(("Input", "Value"), report_markdown.inputs(plan))


def _tokens(n: int | None) -> str:
    return "not stated" if n is None else f"{format_tokens(n)} tokens"
