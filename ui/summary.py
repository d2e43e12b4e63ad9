"""The answer in HTML that the page and the report share: key figures, findings, layers."""

from html import escape

from planner.findings import findings
from planner.plan import Plan
from planner.units import counted, format_bytes, format_share, format_tokens

SEVERITY = {"error": ("✕", "Problem"), "warning": ("!", "Check"), "info": ("i", "Note")}

MAP_NOTE = (
    "Shade: share of a GPU's memory. Black line: where it is full. Star: this plan. "
    "All by the central estimates."
)


def map_alt(plan: Plan) -> str:
    """The map in words."""
    users, tokens = counted(plan.workload.concurrency, "user"), plan.max_context_tokens
    reach = f"up to {format_tokens(tokens)} tokens each fit" if tokens else "do not fit"
    if tokens is None:
        reach = "fit at any length"
    return (
        "Heat map of the memory that each combination of context and users takes. "
        f"{users}: {reach}. The table below has the frontier."
    )


def title(plan: Plan) -> str:
    """What is planned, in a line."""
    return f"{plan.model.source} on {format_tokens(plan.deployment.gpus)} × {plan.gpu.name}"


def subtitle(plan: Plan) -> str:
    """How it is stored and served, in a line."""
    work, deployment = plan.workload, plan.deployment
    parts = [
        f"Weights: {plan.footprint.assignment.description}",
        f"KV cache: {plan.footprint.kv_format.name}",
        f"{counted(work.concurrency, 'user')} of {counted(work.context, 'token')}",
    ]
    if work.shared_prefix_tokens and work.concurrency > 1:
        shared = min(work.shared_prefix_tokens, work.context)
        parts[-1] += f", {format_tokens(shared)} of them shared by all"
    sizes = (
        ("tensor parallel", deployment.tensor_parallel_size),
        ("pipeline stages", deployment.pipeline_parallel_size),
        ("data parallel", deployment.data_parallel_size),
        ("decode context parallel", deployment.decode_context_parallel_size),
        ("ring", deployment.context_parallel_size),
    )
    parts += [f"{name} {size}" for name, size in sizes if size > 1]
    if deployment.enable_expert_parallel:
        parts.append("expert parallel")
    return " · ".join(parts)


def key_figures(plan: Plan) -> str:
    """Need, room, the two answers backwards, cost of a token, as a description list."""
    memory, need = plan.gpu.memory_bytes, plan.total_bytes_per_gpu
    low, high = plan.range_bytes
    work = plan.workload
    per_token = plan.kv_bytes_per_token
    past = plan.kv_bytes_per_token_past_windows
    cards = [
        (
            "Needed per GPU" if len(plan.footprint.stages) == 1 else "Needed on the fullest GPU",
            format_bytes(need),
            f"{format_share(need / memory)} of {format_bytes(memory)}; estimated range "
            f"{format_bytes(low)} to {format_bytes(high)}",
        ),
        (
            "Left" if plan.fits else "Short",
            format_bytes(abs(plan.headroom_bytes)),
            "on each GPU" if len(plan.footprint.stages) == 1 else "on the fullest GPU",
        ),
        (
            "Longest context",
            _tokens(plan.max_context_tokens),
            f"for {counted(work.concurrency, 'user')}" + _stated(plan),
        ),
        (
            "Most users",
            _tokens(plan.max_concurrency),
            f"at {counted(work.context, 'token')} each, by bytes alone",
        ),
        (
            "KV cache per token",
            format_bytes(per_token),
            "over the whole model" if past == per_token else f"{format_bytes(past)} past windows",
        ),
    ]
    return "<dl class='sz-kpis'>" + "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in cards
    ) + "</dl>"  # fmt: skip


def _tokens(n: int | None) -> str:
    return "no limit" if n is None else format_tokens(n) if n else "none fits"


def _stated(plan: Plan) -> str:
    stated, found = plan.model.max_position_embeddings, plan.max_context_tokens
    if stated is None or (found is not None and found <= stated):
        return ""
    return f"; the configuration states {format_tokens(stated)}"


def findings_list(plan: Plan) -> str:
    """Findings with a sign and a word for their weight."""
    items = []
    for finding in findings(plan):
        sign, word = SEVERITY[finding.severity]
        items.append(f"<li><b>{sign} {word}</b> {escape(finding.message)}</li>")
    return f'<ul class="sz-findings">{"".join(items)}</ul>' if items else ""


def capacity_note(plan: Plan) -> str:
    """Why the limit is not the figure on the box."""
    gpu = plan.gpu
    sold = "" if gpu.memory_marketed_gb is None else f"Sold as {gpu.memory_marketed_gb:g} GB; "
    sure = "" if gpu.memory_verified else " (not read on such a card)"
    return (
        f"{sold}a program can allocate {format_bytes(gpu.memory_bytes)}{sure}: {gpu.memory_source}."
    )
