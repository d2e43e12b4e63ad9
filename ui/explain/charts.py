"""Figures of the Explain page: numbers in, figure out. Each shows one idea."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from planner.lessons.parallel_timeline import Timeline
from ui.figures import DASHES, INK, LINE_COLOURS, MARGIN, SYMBOLS

Mark = tuple[float, float, str]
"""A point of a line to point out, and its words."""

OVER = {"fillmode": "overlay", "fgcolor": "rgba(255,255,255,.55)", "solidity": 0.3}
"""White over a bar's colour, so that rows differ by more than colour."""
ON_COLOUR = "#10151c"

DOING = {
    "compute": ("computes", "#3d7edb", ""),
    "send": ("sends", "#d2691e", "/"),
    "products": ("tensor cores", "#3d7edb", ""),
    "exponentials": ("exponentials", "#d2691e", "/"),
    "wait": ("waits", "#9aa1ab", "."),
}
"""What a GPU or a group of warps does: word, colour and pattern."""


def layout(dark: bool, x: str, y: str, height: int = 340, **more: Any) -> dict[str, Any]:
    """Axis titles in the text colour, legend below, no zooming by accident."""
    ink = INK[dark]
    axis = {"tickfont": {"color": ink}, "fixedrange": True, "zeroline": False, "automargin": True,
            "tickformat": ","}  # fmt: skip
    return {
        "height": height,
        "font": {"color": ink},
        "margin": MARGIN,
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "font": {"color": ink},
        },
        "xaxis": axis | {"title": {"text": x, "font": {"color": ink}}} | more.pop("xaxis", {}),
        "yaxis": axis | {"title": {"text": y, "font": {"color": ink}}} | more.pop("yaxis", {}),
        **more,
    }


def lines(
    x: Sequence[float],
    rows: Mapping[str, Sequence[float]],
    titles: tuple[str, str],
    *,
    dark: bool,
    marks: Sequence[Mark] = (),
    places: Sequence[str] = ("top left", "bottom right", "top left"),
    **more: Any,
) -> go.Figure:
    """A line for each row, told apart by dash as well as colour; marks have words at `places`."""
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter", "mode": "lines", "x": list(x), "y": list(y), "name": name,
            "line": {"color": LINE_COLOURS[i % 6], "dash": DASHES[i % 6], "width": 2.5},
        }
        for i, (name, y) in enumerate(rows.items())
    ]  # fmt: skip
    traces += [
        {
            "type": "scatter", "mode": "markers+text", "x": [at], "y": [value], "text": [words],
            "textposition": places[i % len(places)],
            "textfont": {"color": INK[dark], "size": 13}, "cliponaxis": False,
            "marker": {"symbol": SYMBOLS[i % 6], "size": 11, "color": INK[dark]},
            "name": words, "showlegend": False, "hoverinfo": "text",
        }
        for i, (at, value, words) in enumerate(marks)
    ]  # fmt: skip
    return go.Figure(data=traces, layout=layout(dark, *titles, **more))


def bars(
    names: Sequence[str],
    rows: Mapping[str, Sequence[float]],
    title: str,
    *,
    dark: bool,
    labels: Sequence[Sequence[str]] = (),
    stacked: bool = False,
    **more: Any,
) -> go.Figure:
    """Horizontal bars, first name on top, each with its figure, which no pattern crosses; patterns
    tell rows apart."""
    traces = [
        {
            "type": "bar", "orientation": "h", "y": list(names), "x": list(values), "name": name,
            "marker": {
                "color": LINE_COLOURS[i % 6],
                "pattern": {"shape": ("", "/", ".", "x")[i % 4], **OVER},
            },
            "text": list(labels[i]) if labels else None,
            "textposition": "auto" if stacked or not i else "outside",
            "insidetextfont": {"color": ON_COLOUR}, "outsidetextfont": {"color": INK[dark]},
            "constraintext": "none", "cliponaxis": False, "hoverinfo": "y+text+name",
        }
        for i, (name, values) in enumerate(rows.items())
    ]  # fmt: skip
    tall = len(names) * (1 if stacked else len(rows))
    found = layout(dark, title, "", 110 + 34 * tall, **more)
    values = [sum(v) for v in zip(*rows.values(), strict=True)] if stacked else []
    values = values or [v for row in rows.values() for v in row]
    if min(values, default=0) >= 0 and "range" not in found["xaxis"]:
        room = 1.18 if stacked or len(rows) == 1 else 1.35
        found["xaxis"]["range"] = [0, room * (max(values, default=0) or 1)]
    found["barmode"] = "stack" if stacked else "group"
    found["showlegend"] = len(rows) > 1
    found["yaxis"] |= {"autorange": "reversed", "type": "category"}
    if len(rows) > 1:
        found["legend"]["traceorder"] = "normal"
    return go.Figure(data=traces, layout=found)


def cells(
    values: Sequence[Sequence[int]],
    words: Sequence[Sequence[str]],
    colours: Sequence[str],
    titles: tuple[str, str],
    *,
    dark: bool,
    hover: Sequence[Sequence[str]] | None = None,
    height: int = 340,
    **more: Any,
) -> go.Figure:
    """A grid of squares, first row on top: values choose the colour, words are written in them."""
    top = len(colours) - 1
    scale = [
        [edge, colour]
        for i, colour in enumerate(colours)
        for edge in (i / (top + 1), (i + 1) / (top + 1))
    ]
    trace = {
        "type": "heatmap", "z": [list(row) for row in values], "zmin": -0.5, "zmax": top + 0.5,
        "colorscale": scale, "showscale": False, "xgap": 2, "ygap": 2,
        "text": [list(row) for row in words], "texttemplate": "%{text}",
        "textfont": {"color": ON_COLOUR, "size": 13},
        "hovertext": None if hover is None else [list(row) for row in hover],
        "hoverinfo": "skip" if hover is None else "text",
    }  # fmt: skip
    found = layout(dark, *titles, height, **more)
    found["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    found["xaxis"] |= {"showgrid": False}
    return go.Figure(data=[trace], layout=found)


def timeline(found: Timeline, *, dark: bool, names: Sequence[str] = ()) -> go.Figure:
    """A row for each GPU, or of the given names; pattern and colour say what it does."""
    unit, scale = ("ms", 1e3) if found.seconds >= 1e-3 else ("µs", 1e6)
    rows = list(names) or [f"GPU {rank}" for rank in range(found.ranks)]
    traces = []
    for doing, (name, colour, pattern) in DOING.items():
        spans = [s for s in found.spans if s.doing == doing]
        if not spans:
            continue
        traces.append(
            {
                "type": "bar", "orientation": "h", "name": name,
                "y": [rows[s.rank] for s in spans],
                "base": [s.start_s * scale for s in spans],
                "x": [(s.end_s - s.start_s) * scale for s in spans],
                "marker": {
                    "color": colour, "pattern": {"shape": pattern, **OVER},
                    "line": {"color": INK[not dark], "width": 1},
                },
                "hovertext": [
                    f"{rows[s.rank]} {s.what}: {(s.end_s - s.start_s) * scale:,.2f} {unit}"
                    for s in spans
                ],
                "hoverinfo": "text",
            }
        )  # fmt: skip
    shape = layout(dark, f"Time ({unit})", "", 130 + 38 * found.ranks)
    shape["barmode"] = "overlay"
    shape["yaxis"] |= {
        "autorange": "reversed", "type": "category",
        "categoryorder": "array", "categoryarray": rows,
    }  # fmt: skip
    return go.Figure(data=traces, layout=shape)
