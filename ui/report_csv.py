"""A plan's derivation as CSV: one row per line of the arithmetic."""

import csv
import io
from typing import TYPE_CHECKING

from planner.explain import derivation
from planner.plan import Plan

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures


def as_csv(plan: Plan, engine: "EngineFigures | None" = None) -> str:
    """Columns: label, formula, substitution, bytes, in_total; an engine's parts and settings
    follow, with their source and range, or value, in the columns of formula and substitution."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("label", "formula", "substitution", "bytes", "in_total"))
    for step in derivation(plan):
        writer.writerow(
            (step.label, step.formula, step.substitution, step.bytes, str(step.in_total).lower())
        )
    if engine is not None:
        writer.writerows(_engine(plan, engine))
    return out.getvalue()


def _engine(plan: Plan, engine: "EngineFigures") -> list[tuple[str, str, str, int | str, str]]:
    """The engine's answer, pool or refusal, parts, settings, log lines, notes and command."""
    from planner.engines.answer import engine_verdict
    from planner.engines.export import label_of, setting_rows, summary
    from planner.engines.registry import called

    head = called(engine.name, engine.version)
    rows: list[tuple[str, str, str, int | str, str]] = [
        (head, "answer", engine_verdict(plan, engine), "", "false"),
        (head, "pool", summary(engine, plan.workload.context), "", "false"),
        (f"{head}: Budget", "what the engine may use", "", engine.budget_bytes, "false"),
    ]
    parts = {**engine.components, "kv_cache": engine.kv_cache, **engine.outside_budget}
    rows += [
        (
            f"{head}: {label_of(name)}",
            part.source,
            f"{part.low_bytes} to {part.high_bytes}" if part.is_range else "",
            part.bytes,
            "false",
        )
        for name, part in parts.items()
    ]
    rows += [(f"{head}: {k}", "setting", v, "", "false") for k, v in setting_rows(engine)]
    rows += [(f"{head}: log", "", line, "", "false") for line in engine.log_lines]
    rows += [(f"{head}: note", "", note, "", "false") for note in engine.notes]
    return [*rows, (f"{head}: command", "", engine.start, "", "false")]
