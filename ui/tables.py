"""HTML tables for the page and the report, and the rows that stand beside each chart."""

from collections.abc import Iterable, Sequence
from html import escape

from planner.units import format_bytes
from ui.components import COMPONENTS, component_bytes
from ui.memory_bar import Bar


def html_table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    numeric: Sequence[int] = (),
    strong: Sequence[int] = (),
    swatches: Sequence[str] = (),
    notes: Sequence[str] = (),
    stack: bool = False,
) -> str:
    """A table whose first column heads its rows.

    numeric: columns set to the right; strong: rows in bold; swatches: component key per row;
    notes: small text below each row's head; stack: on a phone each row becomes a paragraph with
    its column names.
    """
    columns = "".join(
        f'<th scope="col"{_num(i, numeric)}>{escape(text)}</th>' for i, text in enumerate(head)
    )
    hints = [f'<span class="sz-hint">{escape(t)}: </span>' if stack else "" for t in head]
    body = []
    for r, row in enumerate(rows):
        key = swatches[r] if r < len(swatches) else ""
        swatch = f'<span class="sz-swatch sz-{key}"></span>' if key else ""
        first, *rest = row
        cells = "".join(
            f"<td{_num(i, numeric)}>{hints[i]}{escape(text)}</td>" for i, text in enumerate(rest, 1)
        )
        note = f"<small>{escape(notes[r])}</small>" if r < len(notes) else ""
        bold = ' class="sz-strong"' if r in strong else ""
        body.append(f'<tr{bold}><th scope="row">{swatch}{escape(first)}{note}</th>{cells}</tr>')
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    kind = "sz-table sz-stack" if stack else "sz-table"
    return (
        f'<div class="sz-scroll"><table class="{kind}">{title}<thead><tr>{columns}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _num(index: int, numeric: Sequence[int]) -> str:
    return ' class="num"' if index in numeric else ""


def legend() -> str:
    """What the colours of the bars mean, where no table says so."""
    items = (
        f'<span><span class="sz-swatch sz-{c.key}"></span>{escape(c.label)}</span>'
        for c in COMPONENTS
    )
    return f'<div class="sz-legend">{"".join(items)}</div>'


def memory_table(bars: Sequence[Bar]) -> str:
    """The bars in numbers: every part, total, capacity, what is left; one column per bar."""
    sizes = [component_bytes(bar.parts) for bar in bars]
    shown = [c for c in COMPONENTS if any(size[c.key] for size in sizes)]
    rows = [
        [
            component.label + (" (estimate)" if component.estimated else ""),
            *(format_bytes(size[component.key]) for size in sizes),
        ]
        for component in shown
    ]
    rows += [
        ["Total", *(format_bytes(bar.parts.total) for bar in bars)],
        [
            "With the estimates' ranges",
            *(f"{format_bytes(bar.low_bytes)} to {format_bytes(bar.high_bytes)}" for bar in bars),
        ],
        ["A program can allocate", *(format_bytes(bar.capacity_bytes) for bar in bars)],
        ["Left (short where negative)", *(_left(bar) for bar in bars)],
    ]
    head = ["Part", *(bar.label for bar in bars)]
    return html_table(
        head,
        rows,
        numeric=range(1, len(head)),
        strong=(len(shown), len(shown) + 3),
        swatches=[c.key for c in shown],
    )


def _left(bar: Bar) -> str:
    return format_bytes(bar.capacity_bytes - bar.parts.total)
