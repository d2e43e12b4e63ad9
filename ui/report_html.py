"""A plan as one HTML file: nothing is fetched, figures stay interactive, and it prints well.

Streamlit is not needed. plotly.js is embedded once; the memory bar is SVG and needs no script.
"""

import json
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from planner.export import as_data
from planner.plan import Plan
from planner.verdict import hindrance
from ui import style, summary
from ui.capacity_map import capacity_map, frontier_rows
from ui.memory_bar import bar_alt, memory_bar, stage_bars
from ui.plan_tables import assumptions_html, cache_html, derivation_html, inputs_html, model_html
from ui.report_text import made, opening
from ui.tables import html_table, memory_table
from ui.validation_report import section_html
from validate.record import Record

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures

PAGE_CSS = """
:root{color-scheme:light dark;--line:#8a94a6}
body{font:16px/1.5 system-ui,"Source Sans 3","Segoe UI",sans-serif;margin:0 auto;max-width:70rem;
padding:1.5rem;background:light-dark(#fff,#10151c);color:light-dark(#18212d,#e6ebf2)}
h1{font-size:1.6rem;line-height:1.25;margin:.2rem 0}h2{font-size:1.2rem;margin:2rem 0 .5rem}
.sz-verdict{border-left:5px solid light-dark(#1a7f4b,#58c58c);padding:.6rem 1rem;font-weight:600;
background:light-dark(#eef7f1,#16261e)}
.sz-verdict.sz-no{border-color:light-dark(#b3261e,#f2837b);background:light-dark(#fdf0ef,#2d1a19)}
.sz-chart{background:#fff;color-scheme:light;border-radius:6px;padding:.5rem}
pre{white-space:pre-wrap;overflow-wrap:anywhere}
.sz-table{width:auto;min-width:min(100%,30rem)}
footer{margin-top:2.5rem;font-size:.875rem;border-top:1px solid var(--line);padding-top:.6rem}
@media print{:root{color-scheme:light}body{max-width:none;padding:0;font-size:11pt;background:#fff}
.sz-scroll{overflow:visible}tr,.sz-kpis div,.sz-bar,.sz-chart{break-inside:avoid}
h2{break-after:avoid}.sz-bar rect,.sz-verdict{print-color-adjust:exact;
-webkit-print-color-adjust:exact}@page{margin:15mm}}
"""


def as_html(
    plan: Plan,
    config: Mapping[str, Any] | None = None,
    record: Record | None = None,
    engine: "EngineFigures | None" = None,
) -> str:
    """The whole report. config: the model's own, so that the plan inside can be opened again.

    record: what was measured on a card like the plan's. engine: what an engine makes of the plan.
    """
    head = summary.title(plan)
    bars = stage_bars(plan)
    refused = engine is not None and engine.refused is not None
    serves = plan.fits and hindrance(plan) is None and not refused
    state = "" if serves else " sz-no"
    data = json.dumps(report_data(plan, config, engine), allow_nan=False).replace("</", "<\\/")
    sections = (
        ("Memory", memory_bar(bars, bar_alt(bars)) + _note(summary.capacity_note(plan))
         + memory_table(bars)),
        (_engine_name(engine), _engine(plan, engine)),
        ("Context × users", _map(plan)),
        ("What to know", summary.findings_list(plan)),
        ("Derivation", derivation_html(plan)),
        ("Assumptions", assumptions_html(plan)),
        ("Model", model_html(plan)),
        ("Cache and attention", cache_html(plan)),
        ("Validation", "" if record is None else section_html(record)),
        ("Inputs", inputs_html(plan)),
    )  # fmt: skip
    body = "".join(f"<section><h2>{name}</h2>{html}</section>" for name, html in sections if html)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(head)}</title><style>{style.css()}{PAGE_CSS}</style></head><body><main>"
        f"<h1>{escape(head)}</h1><p>{escape(summary.subtitle(plan))}</p>"
        f'<p class="sz-verdict{state}">{escape(opening(plan, engine))}</p>'
        f"{summary.key_figures(plan)}{body}</main><footer>{escape(_made())}</footer>"
        f'<script type="application/json" id="plan">{data}</script></body></html>'
    )


def report_data(
    plan: Plan, config: Mapping[str, Any] | None, engine: "EngineFigures | None"
) -> dict[str, Any]:
    """The plan's JSON, with the engine's part where one was chosen."""
    if engine is None:
        return as_data(plan, config)
    from planner.engines.answer import plan_data

    return plan_data(plan, config, engine)


def _engine_name(engine: "EngineFigures | None") -> str:
    if engine is None:
        return ""
    from planner.engines.registry import called

    return escape(called(engine.name, engine.version))


def _engine(plan: Plan, engine: "EngineFigures | None") -> str:
    """The engine's budget, settings, log lines, notes and command."""
    if engine is None:
        return ""
    from planner.engines.export import engine_rows, setting_rows
    from planner.engines.export import summary as in_short

    head = ("Part", "Size", "Range", "Source")
    lines = "\n".join((*engine.log_lines, "", engine.start)).strip()
    notes = "".join(f"<li>{escape(note)}</li>" for note in engine.notes)
    return (
        f"<p>{escape(in_short(engine, plan.workload.context))}</p>"
        + html_table(head, engine_rows(engine), numeric=(1,), stack=True)
        + html_table(("Setting in force", "Value"), setting_rows(engine))
        + (f"<ul>{notes}</ul>" if notes else "")
        + f"<pre>{escape(lines)}</pre>"
    )


def _map(plan: Plan) -> str:
    import plotly.io
    from plotly.offline import get_plotlyjs

    from ui.figures import CONFIG, capacity_figure

    grid = capacity_map(plan)
    figure = capacity_figure(plan, grid)
    figure.update_layout(template="plotly_white")
    chart = plotly.io.to_html(
        figure, full_html=False, include_plotlyjs=False, config=CONFIG | {"responsive": True}
    )
    alt = escape(summary.map_alt(plan))
    return (
        f"<script>{get_plotlyjs()}</script>"
        f'<div class="sz-chart" role="img" aria-label="{alt}">{chart}</div>'
        + _note(summary.MAP_NOTE)
        + html_table(("Users", "Longest context (tokens)"), frontier_rows(plan, grid), numeric=(1,))
    )


def _note(text: str) -> str:
    return f'<p class="sz-note">{escape(text)}</p>'


def _made() -> str:
    return (
        f"{made()} This file fetches nothing and sends nothing; the plan itself is inside it as "
        "JSON."
    )
