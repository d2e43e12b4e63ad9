"""The memory bar: one row per GPU (or per plan), drawn as SVG that needs no script.

Widths are percentages and text has a fixed size, so the bar stretches from a phone to paper.
Colours come from the classes of ui.style.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from planner.memory import Parts, range_bytes
from planner.plan import Plan
from planner.units import format_bytes, format_tokens
from ui.components import COMPONENTS, component_bytes

ROW, BAR_TOP, BAR_HEIGHT = 62, 22, 30
LINE, ONE_LINE = 19, 26
"""Labels of more characters have a line of their own, so that a phone shows the figures."""
SHARE_FOR_SIZE, SHARE_FOR_NAME = 0.14, 0.42


@dataclass(frozen=True, slots=True)
class Bar:
    """One row: what fills it, what it is held against, and the range of its total."""

    label: str
    parts: Parts
    capacity_bytes: int
    low_bytes: int
    high_bytes: int


def stage_bars(plan: Plan) -> tuple[Bar, ...]:
    """One bar per pipeline stage; neighbours that hold the same layers' worth share one."""
    stages = plan.footprint.stages
    gpus = plan.deployment.gpus // len(stages)
    bars: list[Bar] = []
    first = 0
    for i, (stage, parts) in enumerate(zip(stages, plan.stage_parts, strict=True)):
        if i + 1 < len(stages) and plan.stage_parts[i + 1] == parts:
            continue
        low, high = range_bytes(plan.footprint, stage, plan.workload)
        label = _label(plan, first, i, gpus)
        bars.append(Bar(label, parts, plan.gpu.memory_bytes, low, high))
        first = i + 1
    return tuple(bars)


def _label(plan: Plan, first: int, last: int, gpus: int) -> str:
    stages = plan.footprint.stages
    if len(stages) == 1:
        return "The GPU" if gpus == 1 else f"Each of {format_tokens(gpus)} GPUs"
    name = f"Stage {first + 1}" if first == last else f"Stages {first + 1}–{last + 1}"
    return f"{name}, layers {stages[first].layers.start}–{stages[last].layers.stop - 1}"


def memory_bar(bars: Sequence[Bar], alt: str) -> str:
    """SVG of the rows on one scale, the limit as a thick line, the range as a whisker."""
    scale = max(max(b.capacity_bytes, b.high_bytes, b.parts.total) for b in bars) * 1.005
    extra = LINE if any(len(bar.label) > ONE_LINE for bar in bars) else 0
    rows = "".join(_row(bar, i * (ROW + extra), scale, extra) for i, bar in enumerate(bars))
    return (
        f'<svg class="sz-bar" width="100%" height="{(ROW + extra) * len(bars)}" role="img" '
        f'aria-label="{escape(alt)}">{rows}</svg>'
    )


def bar_alt(bars: Sequence[Bar]) -> str:
    """The bars in words."""
    rows = []
    for bar in bars:
        sizes = component_bytes(bar.parts)
        parts = ", ".join(
            f"{c.label.lower()} {format_bytes(sizes[c.key])}" for c in COMPONENTS if sizes[c.key]
        )
        rows.append(f"{bar.label}: {_total(bar)}: {parts}.")
    return " ".join(rows)


def _total(bar: Bar) -> str:
    return f"{format_bytes(bar.parts.total)} of {format_bytes(bar.capacity_bytes)}"


def _row(bar: Bar, top: int, scale: float, extra: int) -> str:
    over = bar.parts.total - bar.capacity_bytes
    state = f"{format_bytes(over)} over" if over > 0 else f"{format_bytes(-over)} free"
    capacity = f'<tspan class="sz-wide"> of {format_bytes(bar.capacity_bytes)}</tspan>'
    figures = f"{format_bytes(bar.parts.total)}{capacity}, {state}"
    label = escape(bar.label)
    y = top + BAR_TOP + extra
    limit = _percent(bar.capacity_bytes / scale)
    found = [
        f'<text x="0" y="{top + 15}">{label if extra else f"{label}: {figures}"}</text>',
        f'<text x="0" y="{top + 15 + extra}">{figures}</text>' if extra else "",
        f'<rect class="sz-track" x="0" y="{y}" width="{limit}" height="{BAR_HEIGHT}"/>',
        *_segments(bar, y, scale),
        f'<line class="sz-limit" x1="{limit}" x2="{limit}" y1="{y - 4}" '
        f'y2="{y + BAR_HEIGHT + 4}"/>',
    ]
    if bar.high_bytes > bar.low_bytes:
        low, high = _percent(bar.low_bytes / scale), _percent(bar.high_bytes / scale)
        middle = y + BAR_HEIGHT // 2
        tip = f"With the estimates' ranges: {format_bytes(bar.low_bytes)} to "
        found.append(
            f'<g class="sz-range"><title>{tip}{format_bytes(bar.high_bytes)}</title>'
            f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
            f'<line x1="{low}" x2="{low}" y1="{middle - 5}" y2="{middle + 5}"/>'
            f'<line x1="{high}" x2="{high}" y1="{middle - 5}" y2="{middle + 5}"/></g>'
        )
    return "".join(found)


def _segments(bar: Bar, y: int, scale: float) -> list[str]:
    sizes = component_bytes(bar.parts)
    found, start = [], 0.0
    for component in COMPONENTS:
        share = sizes[component.key] / scale
        if share <= 0:
            continue
        size = format_bytes(sizes[component.key])
        before = bar.capacity_bytes / scale - start
        clear = before if 0 < before < share / 2 else 0.0
        room = share - clear
        name = f"{component.label}: " if room >= SHARE_FOR_NAME else ""
        text = ""
        if room >= SHARE_FOR_SIZE:
            text = (
                f'<text class="sz-in{"" if room >= 0.25 else " sz-wide"}" '
                f'x="{_percent(clear / share)}" dx="8" y="20">'
                f'<tspan class="sz-wide">{name}</tspan>{size}</text>'
            )
        found.append(
            f'<svg x="{_percent(start)}" y="{y}" width="{_percent(share)}" height="{BAR_HEIGHT}">'
            f"<title>{component.label}: {size}</title>"
            f'<rect class="sz-{component.key}" width="100%" height="100%"/>{text}</svg>'
        )
        start += share
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.3f}%"
