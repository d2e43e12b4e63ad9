"""The card as an engine divides it: a bar whose cache has an error bar, and the same in a table."""

from dataclasses import dataclass
from html import escape

from planner.engines.engine import EngineFigures
from planner.engines.export import label_of
from planner.estimate import Estimate
from planner.hardware import Gpu
from planner.units import format_bytes
from ui.tables import html_table

HEIGHT, TOP, BAR = 62, 22, 30
NO_BREAK = "\u00a0"
SHARE_FOR_SIZE, SHARE_FOR_NAME = 0.14, 0.34
COLOURS = {
    "weights": "weights",
    "draft_weights": "draft",
    "drafting": "draft",
    "lora_slots": "block_rounding",
    "repacking": "block_rounding",
    "states": "block_tables",
    "activation": "activations",
    "non_torch": "runtime",
    "cuda_graphs": "attention_workspace",
    "kv_cache": "kv_cache",
}


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of the bar."""

    name: str
    estimate: Estimate

    @property
    def label(self) -> str:
        return label_of(self.name)

    @property
    def colour(self) -> str:
        return COLOURS.get(self.name, "runtime")


def segments(figures: EngineFigures) -> tuple[Segment, ...]:
    """The budget in the order in which it is spent, the cache last: after a refusal, what was
    asked for."""
    found = [Segment(name, part) for name, part in figures.components.items() if part.high_bytes]
    if figures.refused is None or figures.kv_cache.bytes > 0:
        found.append(Segment("kv_cache", figures.kv_cache))
    return tuple(found)


def engine_bar(figures: EngineFigures, gpu: Gpu) -> str:
    """SVG: parts, the budget as a thick line, the card's outline, a whisker on the cache."""
    parts = tuple(part for part in segments(figures) if part.estimate.bytes > 0)
    filled = sum(part.estimate.bytes for part in parts)
    scale = max(gpu.memory_bytes, figures.budget_bytes, filled) * 1.005
    found, start = [], 0
    for part in parts:
        found.append(_segment(part, start / scale, part.estimate.bytes / scale))
        start += part.estimate.bytes
    limit, card = _percent(figures.budget_bytes / scale), _percent(gpu.memory_bytes / scale)
    head = (
        f'<text x="0" y="15">Budget {format_bytes(figures.budget_bytes)} of '
        f"{format_bytes(gpu.memory_bytes)}</text>"
        f'<rect class="sz-track" x="0" y="{TOP}" width="{card}" height="{BAR}"/>'
    )
    line = f'<line class="sz-limit" x1="{limit}" x2="{limit}" y1="{TOP - 4}" y2="{TOP + BAR + 4}"/>'
    whisker = _whisker(figures.kv_cache, start, scale) if figures.refused is None else ""
    return (
        f'<svg class="sz-bar" width="100%" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(alt(figures, gpu))}">{head}{"".join(found)}{line}{whisker}</svg>'
    )


def alt(figures: EngineFigures, gpu: Gpu) -> str:
    """The bar in words."""
    parts = ", ".join(
        f"{part.label.lower()} {format_bytes(part.estimate.bytes)}" for part in segments(figures)
    )
    return (
        f"Of {format_bytes(gpu.memory_bytes)} the engine's budget is "
        f"{format_bytes(figures.budget_bytes)}: {parts}."
    )


def _segment(part: Segment, start: float, share: float) -> str:
    size = format_bytes(part.estimate.bytes)
    whisker = part.estimate.bytes - part.estimate.low_bytes if part.name == "kv_cache" else 0
    clear = _percent(whisker / part.estimate.bytes)
    text = ""
    if share >= SHARE_FOR_SIZE:
        name = f"{part.label}: " if share >= SHARE_FOR_NAME else ""
        narrow = "" if share >= 0.25 else " sz-wide"
        text = (
            f'<text class="sz-in{narrow}" x="{clear}" dx="8" y="20">'
            f'<tspan class="sz-wide">{escape(name)}</tspan>{size}</text>'
        )
    return (
        f'<svg x="{_percent(start)}" y="{TOP}" width="{_percent(share)}" height="{BAR}">'
        f"<title>{escape(part.label)}: {size}</title>"
        f'<rect class="sz-{part.colour}" width="100%" height="100%"/>{text}</svg>'
    )


def _whisker(cache: Estimate, end: int, scale: float) -> str:
    """Where the cache may begin, given the components' ranges; it always ends at the budget."""
    if not cache.is_range:
        return ""
    low = _percent((end - cache.high_bytes) / scale)
    high = _percent((end - cache.low_bytes) / scale)
    middle = TOP + BAR // 2
    tip = f"KV cache: {format_bytes(cache.low_bytes)} to {format_bytes(cache.high_bytes)}"
    return (
        f'<g class="sz-range"><title>{tip}</title>'
        f'<line x1="{low}" x2="{high}" y1="{middle}" y2="{middle}"/>'
        f'<line x1="{low}" x2="{low}" y1="{middle - 5}" y2="{middle + 5}"/>'
        f'<line x1="{high}" x2="{high}" y1="{middle - 5}" y2="{middle + 5}"/></g>'
    )


def budget_table(figures: EngineFigures) -> str:
    """Every part with its range and source; what is outside the budget below."""
    parts = segments(figures)
    outside = tuple(Segment(name, part) for name, part in figures.outside_budget.items())
    rows = [_row(part) for part in parts]
    rows += [_row(part, " (outside the budget)") for part in outside]
    return html_table(
        ("Part and where its size comes from", "Size", "Range"),
        rows,
        numeric=(1,),
        notes=[part.estimate.source for part in (*parts, *outside)],
        strong=[i for i, part in enumerate(parts) if part.name == "kv_cache"],
        swatches=[part.colour for part in parts],
        stack=True,
    )


def _row(part: Segment, suffix: str = "") -> tuple[str, str, str]:
    found = part.estimate
    span = between(found.low_bytes, found.high_bytes)
    return (
        part.label + suffix,
        format_bytes(found.bytes),
        span if found.is_range else "exact",
    )


def between(low: int, high: int) -> str:
    """A range on one line: its unit once where both ends have the same."""
    start, end = format_bytes(low), format_bytes(high)
    number, unit = start.split()
    shown = number if end.endswith(f" {unit}") else start
    return f"{shown} to {end}".replace(" ", NO_BREAK)


def _percent(share: float) -> str:
    return f"{100 * share:.3f}%"
