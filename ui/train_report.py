"""A training plan for a terminal and as Markdown."""

from planner.offer import Offer
from planner.training.capacity import Limits, remedies
from planner.training.explain import LABELS, derivation, label, verdict
from planner.training.export import (
    PLACES,
    limit_rows,
    memory_rows,
    published_rows,
    ranged,
    time_rows,
)
from planner.training.notes import notes
from planner.training.plan import TrainingPlan
from planner.training.speed import StepTime
from planner.units import format_bytes
from ui.report_markdown import as_written, cell, table, totals
from ui.report_text import made, wrap


def title(plan: TrainingPlan) -> str:
    """What is trained where, in a line."""
    gpus = plan.recipe.gpus
    how = "Training" if plan.recipe.lora is None else "LoRA fine-tuning"
    if plan.recipe.lora is not None and plan.recipe.lora.base != "16-bit":
        how = "QLoRA fine-tuning"
    return f"{how} of {plan.model.source} on {gpus:,} × {plan.gpu.name}"


def moved_rows(plan: TrainingPlan) -> list[tuple[str, str]]:
    """What lies beside the GPUs: states by place, and the sums for one machine."""
    rows = [
        (
            f"{label(s, plan)} of one GPU, on {PLACES[s.place]}",
            format_bytes(s.bytes),
        )
        for s in plan.state_parts
        if s.place != "none"
    ]
    if rows:
        rows.append(("Host memory of a machine", ranged(plan.host)))
    if plan.nvme_bytes:
        rows.append(("NVMe of a machine", format_bytes(plan.nvme_bytes)))
    return rows


def remedy(plan: TrainingPlan) -> str:
    """Which single changes make it fit; nothing where it does."""
    if plan.fits:
        return ""
    would = remedies(plan)
    lead = "Any one of these fits" if len(would) > 1 else "One change fits"
    return f"{lead}: {'; '.join(would)}." if would else "No single change fits."


def as_text(
    plan: TrainingPlan, found: Limits, time: StepTime | None, price: Offer | None,
    untimed: str = "",
) -> str:  # fmt: skip
    """Verdict, memory, limits, time and cost (or why there is none), notes."""
    low, high = plan.stage.range_bytes
    memory = [
        f"  {label:<30}{format_bytes(size):>14}" + ("  estimate" if estimated else "")
        for _, label, size, estimated in memory_rows(plan)
        if size
    ]
    memory += [
        f"  {'total':<30}{format_bytes(plan.total_bytes):>14}  {format_bytes(low)} to "
        f"{format_bytes(high)} with the ranges",
        f"  {'a program can allocate':<30}{format_bytes(plan.gpu.memory_bytes):>14}",
    ]
    blocks = [
        wrap(verdict(plan)),
        wrap(remedy(plan)),
        wrap(title(plan)),
        "\n".join(("One GPU (the fullest)", *memory)),
        "\n".join(f"{name}: {value}" for name, value in moved_rows(plan)),
        "\n".join(f"{name}: {value}" for name, value in limit_rows(plan, found)),
        wrap(_untimed(untimed)) if time is None else _lines(time_rows(time, price)),
        "\n".join(f"{what}: {theirs} (here {ours})" for what, theirs, ours in published_rows(plan)),
        "\n".join(wrap(f"note: {note}", indent="  ") for note in notes(plan)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _untimed(why: str) -> str:
    return f"No time is given: {why}."


def _lines(rows: list[tuple[str, str]]) -> str:
    return "\n".join(wrap(f"{name}: {value}", indent="  ") for name, value in rows)


def as_markdown(
    plan: TrainingPlan, found: Limits, time: StepTime | None, price: Offer | None,
    untimed: str = "",
) -> str:  # fmt: skip
    """The whole report; every number comes from the plan object."""
    memory = [
        (label + (" (estimate)" if estimated else ""), format_bytes(size), f"{size:,}")
        for _, label, size, estimated in memory_rows(plan)
    ]
    memory += totals(
        plan.total_bytes, plan.stage.range_bytes, plan.gpu.memory_bytes, plan.headroom_bytes
    )
    recipe = [(k.replace("_", " "), as_written(v)) for k, v in plan.recipe.model_dump().items()]
    steps = [(s.label, s.formula, s.substitution, f"{s.bytes:,}") for s in derivation(plan)]
    estimates = [(LABELS.get(name, name), ranged(e), e.source)
                 for name, e in plan.stage.estimates.items()]  # fmt: skip
    sections = [
        f"# {cell(title(plan))}",
        " ".join(filter(None, (verdict(plan), remedy(plan)))),
        "## Recipe\n\n" + table(("Input", "Value"), recipe),
        "## Memory of the fullest GPU\n\n" + table(("Part", "Size", "Bytes"), memory),
        "## Limits\n\n" + table(("Question", "Answer"), limit_rows(plan, found)),
    ]
    if moved := moved_rows(plan):
        sections.append("## Beside the GPUs\n\n" + table(("What", "Size"), moved))
    if time is not None:
        rows = time_rows(time, price)
        sections.append(f"## Time and cost (estimate)\n\n{table(('What', 'Value'), rows)}\n\n"
                        f"Source: {cell(time.source)}")  # fmt: skip
    else:
        sections.append(f"## Time and cost\n\n{cell(_untimed(untimed))}")
    if theirs := published_rows(plan):
        sections.append("## Beside the frameworks' own estimators\n\n"
                        + table(("What", "Theirs", "Here"), theirs))  # fmt: skip
    sections += [
        "## Notes\n\n" + "\n".join(f"- {note}" for note in notes(plan)),
        "## Derivation\n\n" + table(("Line", "Formula", "With numbers", "Bytes"), steps),
        "## Estimates\n\n" + table(("Estimate", "Value", "Source"), estimates),
    ]
    return "\n\n".join((*sections, made())) + "\n"
