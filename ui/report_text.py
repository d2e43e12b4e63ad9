"""A plan for a terminal: the verdict, a bar, the sum, the limits, what to know."""

from typing import TYPE_CHECKING

from planner.findings import findings
from planner.model import kind_name
from planner.plan import SCHEMA_VERSION, Plan
from planner.units import counted, format_bytes, format_tokens
from planner.verdict import verdict
from ui.components import COMPONENTS, component_bytes

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures

WIDTH = 78
BAR = 60
MARKS = "#=+-~:o*"


def as_text(plan: Plan, engine: "EngineFigures | None" = None) -> str:
    """The plan in lines of at most 78 characters; an engine's lines are as long as its own."""
    blocks = [
        wrap(opening(plan, engine)),
        heading(plan),
        memory(plan),
        limits(plan),
        engine_lines(plan, engine),
        notes(plan),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def opening(plan: Plan, engine: "EngineFigures | None" = None) -> str:
    """The verdict, led by the engine's answer where one was chosen."""
    if engine is None:
        return verdict(plan)
    from planner.engines import answer

    return answer.opening(plan, engine)


def made() -> str:
    """Versions and date: what produced these figures."""
    import platform
    import tomllib
    from datetime import date
    from pathlib import Path

    project = Path(__file__).resolve().parents[1] / "pyproject.toml"
    version = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    return (
        f"Sizewell {version}, plan format {SCHEMA_VERSION}, Python {platform.python_version()}, "
        f"made on {date.today().isoformat()}. GiB is 2^30 bytes."
    )


def engine_lines(plan: Plan, engine: "EngineFigures | None") -> str:
    """What an engine makes of it, where one was chosen."""
    if engine is None:
        return ""
    from planner.engines.export import engine_text

    return engine_text(engine, plan.workload.context)


def heading(plan: Plan) -> str:
    """What was planned."""
    layers = ", ".join(f"{n} {kind_name(kind)}" for kind, n in plan.model.layer_counts.items())
    active = plan.parameters.active
    tower = plan.parameters.towers
    beside = f" and {tower / 1e9:,.2f} B in the {plan.model.tower_name}" if tower else ""
    of_them = "" if active == plan.parameters.total else f", {active / 1e9:,.2f} B active"
    lines = (
        f"Model      {plan.model.source}: {plan.parameters.total / 1e9:,.2f} B parameters"
        f"{of_them}{beside}; layers: {layers}",
        f"Weights    {plan.footprint.assignment.description}",
        f"KV cache   {plan.footprint.kv_format.name}, {plan.kv_bytes_per_token:,} B per token, "
        f"{format_bytes(plan.kv_bytes_per_sequence + plan.state_bytes_per_sequence)} per sequence",
    )
    return "\n".join(wrap(line, indent=" " * 11) for line in lines)


def memory(plan: Plan) -> str:
    """The bar and its parts."""
    sizes = component_bytes(plan.parts)
    capacity = plan.gpu.memory_bytes
    scale = BAR / max(capacity, plan.total_bytes_per_gpu)
    bar = "".join(
        MARKS[i] * round(sizes[c.key] * scale) for i, c in enumerate(COMPONENTS) if sizes[c.key]
    )
    edge = round(capacity * scale)
    bar = f"{bar[:edge]:<{edge}}|{bar[edge:]}"
    low, high = plan.range_bytes
    lines = [f"One GPU{'' if plan.deployment.gpus == 1 else ' (the fullest)'}", f"[{bar}]"]
    lines += [
        f"  {MARKS[i]} {c.label:<28}{format_bytes(sizes[c.key]):>14}"
        + ("  estimate" if c.estimated else "")
        for i, c in enumerate(COMPONENTS)
        if sizes[c.key]
    ]
    lines += [
        f"    {'total':<28}{format_bytes(plan.total_bytes_per_gpu):>14}  "
        f"{format_bytes(low)} to {format_bytes(high)}",
        f"    {'a program can allocate':<28}{format_bytes(capacity):>14}",
        f"    {'headroom' if plan.fits else 'short':<28}"
        f"{format_bytes(abs(plan.headroom_bytes)):>14}",
    ]
    return "\n".join(lines)


def limits(plan: Plan) -> str:
    """The two questions backwards."""
    return "\n".join(f"{question}: {found}" for question, found in backwards(plan))


def backwards(plan: Plan) -> tuple[tuple[str, str], tuple[str, str]]:
    """Most sequences of this length and longest context for as many, as question and answer."""
    users, tokens = plan.max_concurrency, plan.max_context_tokens
    most = "memory sets no limit" if users is None else format_tokens(users)
    longest = "memory sets no limit" if tokens is None else f"{format_tokens(tokens)} tokens"
    stated = plan.model.max_position_embeddings
    if stated is not None and (tokens is None or tokens > stated):
        room = "" if tokens is None else " in memory"
        longest += f"{room}; the model states {format_tokens(stated)}"
    return (
        (f"Most sequences of {counted(plan.workload.context, 'token')}", most),
        (f"Longest context for {format_tokens(plan.workload.concurrency)}", longest),
    )


def notes(plan: Plan) -> str:
    """Findings, wrapped."""
    return "\n".join(
        wrap(f"{finding.severity}: {finding.message}", indent="  ") for finding in findings(plan)
    )


def wrap(text: str, indent: str = "") -> str:
    """Text in lines of the terminal's width."""
    from textwrap import fill

    return fill(text, WIDTH, subsequent_indent=indent, break_on_hyphens=False)
