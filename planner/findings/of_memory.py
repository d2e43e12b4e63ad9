"""Whether a plan fits, and what its model keeps."""

from collections.abc import Iterator

from planner.findings.finding import Finding
from planner.memory import total_bytes
from planner.plan import Plan
from planner.units import format_bytes, format_tokens


def of_fit(plan: Plan) -> Iterator[Finding]:
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


def of_model(plan: Plan) -> Iterator[Finding]:
    if plan.parameters.towers:
        yield Finding(
            "info",
            "tower_counted",
            f"The {plan.parameters.towers:,} parameters of the {plan.model.tower_name} are counted "
            "with the weights; working memory for images and sound is not.",
        )
    for tower in plan.model.parameters_elsewhere:
        name = tower.removesuffix("_config")
        yield Finding(
            "warning",
            "tower_not_counted",
            f"The {name} tower's weights and working memory are not counted by bytes: "
            "leave room for them, or serve text only.",
        )
    yield from _of_files(plan)
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


def _of_files(plan: Plan) -> Iterator[Finding]:
    found = plan.weight_files
    if found is None:
        return
    yield Finding("warning" if found.unexplained else "info", "weight_files", found.sentence)
    if found.files.cut:
        yield Finding(
            "info",
            "weight_files_cut",
            f"{', '.join(found.files.cut)} ends before its tensors do: enough to plan with, and "
            "too little to serve from.",
        )
