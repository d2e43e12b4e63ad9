"""A plan as Markdown: verdict, inputs, memory, limits, findings, derivation, assumptions."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from planner.errors import SizewellError
from planner.explain import derivation
from planner.findings import findings
from planner.plan import Plan
from planner.units import format_bytes
from presets.models import load_model_source
from ui.components import COMPONENTS, component_bytes
from ui.report_text import backwards, made, opening
from ui.summary import SEVERITY

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures
    from validate.record import Record


def as_markdown(
    plan: Plan, engine: "EngineFigures | None" = None, record: "Record | None" = None
) -> str:
    """The whole report; every number comes from the plan object, or from the record given."""
    sections = [
        f"# Sizing report: {cell(plan.model.source)} on {plan.deployment.gpus} × {plan.gpu.name}",
        opening(plan, engine),
        "## Inputs\n\n" + table(("Input", "Value"), inputs(plan)),
        "## Memory of the fullest GPU\n\n" + table(("Part", "Size", "Bytes"), memory(plan)),
        "## Limits\n\n" + table(("Question", "Answer"), backwards(plan)),
        *([] if engine is None else [engine_section(plan, engine)]),
        "## What to know\n\n"
        + "\n".join(f"- {SEVERITY[f.severity][1]}: {cell(f.message)}" for f in findings(plan)),
        "## Derivation\n\n" + table(("Line", "Formula", "With numbers", "Bytes"), steps(plan)),
        "## Assumptions\n\n" + table(("Estimate", "Value", "Range", "Source"), assumptions(plan)),
        *([] if record is None else [validation_section(record)]),
    ]
    return "\n\n".join((*sections, made())) + "\n"


def validation_section(record: "Record") -> str:
    """What was measured on a card like the plan's."""
    from ui.validation_report import section_markdown

    return section_markdown(record)


def inputs(plan: Plan) -> list[tuple[str, str]]:
    """Everything the plan was made from."""
    deployment, work = plan.deployment, plan.workload
    rows = [
        ("Model", f"{plan.model.source} ({plan.model.model_type})"),
        ("Parameters", f"{plan.parameters.total:,} ({plan.parameters.active:,} active)"),
        ("GPU", plan.gpu.name),
        ("GPU memory source", plan.gpu.memory_source),
        ("Weights", f"{deployment.weights_dtype}: {plan.footprint.assignment.description}"),
        ("KV cache", f"{deployment.kv_cache_dtype}: {plan.footprint.kv_format.name}"),
    ]
    formats = {"weights_dtype", "kv_cache_dtype"}
    values = {**deployment.model_dump(exclude=formats), **work.model_dump()}
    rows += [(name.replace("_", " "), as_written(value)) for name, value in values.items()]
    return rows + _origin(plan.model.source)


def _origin(source: str) -> list[tuple[str, str]]:
    """Sources of a preset's configuration; nothing for one that was given."""
    try:
        found = load_model_source(source)
    except SizewellError:
        return []
    return [(f"Source of the configuration ({found.config_kind})", "; ".join(found.sources))]


def as_written(value: object) -> str:
    """An input as people write it."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {as_written(of)}" for name, of in value.items())
    return f"{value:,}" if isinstance(value, int) else f"{value}"


def memory(plan: Plan) -> list[tuple[str, str, str]]:
    """Parts, total, its range, capacity, what is left."""
    sizes = component_bytes(plan.parts)
    rows = [
        (c.label + (" (estimate)" if c.estimated else ""), sizes[c.key])
        for c in COMPONENTS
        if sizes[c.key]
    ]
    sums = totals(
        plan.total_bytes_per_gpu, plan.range_bytes, plan.gpu.memory_bytes, plan.headroom_bytes
    )
    return [(label, format_bytes(size), f"{size:,}") for label, size in rows] + sums


def totals(
    total: int, reach: tuple[int, int], capacity: int, left: int
) -> list[tuple[str, str, str]]:
    """What stands below the parts, as on the page."""
    low, high = reach
    return [
        ("Total", format_bytes(total), f"{total:,}"),
        (
            "With the estimates' ranges",
            f"{format_bytes(low)} to {format_bytes(high)}",
            f"{low:,} to {high:,}",
        ),
        ("A program can allocate", format_bytes(capacity), f"{capacity:,}"),
        ("Left (short where negative)", format_bytes(left), f"{left:,}"),
    ]


def engine_section(plan: Plan, engine: "EngineFigures") -> str:
    """What the engine will allocate, print and be started with."""
    from planner.engines.export import engine_rows, setting_rows, summary
    from planner.engines.registry import called

    label = cell(called(engine.name, engine.version))
    head = ("Part", "Size", "Range", "Source")
    return "\n\n".join(
        (
            f"## {label}\n\n{summary(engine, plan.workload.context)}",
            table(head, engine_rows(engine)),
            table(("Setting in force", "Value"), setting_rows(engine)),
            *("\n".join(f"- {cell(note)}" for note in engine.notes) for _ in engine.notes[:1]),
            "```\n" + "\n".join((*engine.log_lines, "", engine.start)) + "\n```",
        )
    )


def steps(plan: Plan) -> list[tuple[str, str, str, str]]:
    """The derivation's lines."""
    return [(s.label, s.formula, s.substitution, f"{s.bytes:,}") for s in derivation(plan)]


def assumptions(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Every estimate with its range and source."""
    named = {"activations": plan.activations, **plan.stage.runtime}
    return [
        (
            name.replace("_", " "),
            format_bytes(e.bytes),
            f"{format_bytes(e.low_bytes)} to {format_bytes(e.high_bytes)}",
            e.source,
        )
        for name, e in named.items()
    ]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    lines += [f"| {' | '.join(cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def cell(text: str) -> str:
    """Text that cannot break a table or smuggle markup."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
