"""Plotly figures: one function each, numbers in, figure out. Tables beside them: ui.tables.

Each figure is built in one call, which is several times faster than adding to it piece by piece.
"""

from collections.abc import Sequence
from math import ceil, floor, log2, log10
from typing import Any

import plotly.graph_objects as go

from planner.plan import Plan
from planner.units import format_bytes, format_tokens
from ui.capacity_map import CapacityMap, frontier_line, short_tokens

CONFIG = {"displaylogo": False, "showSendToCloud": False, "displayModeBar": False}
"""For every figure, on the page and in reports: no logo, no button that uploads."""

FITS_COLOURS = ("#e4eefb", "#1c4587")
FULL_COLOUR = "#8b8f96"
INK = ("#18212d", "#e6ebf2")
"""Text on light and on dark."""
ON_MAP = "#10151c"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up")
LINE_COLOURS = ("#3d7edb", "#d2691e", "#159c8d", "#b86ad0", "#c2448a", "#8f8a2e")
MARGIN = {"l": 10, "r": 10, "t": 24, "b": 10}


def capacity_figure(plan: Plan, grid: CapacityMap, *, dark: bool = False) -> go.Figure:
    """The map: shade is the share of memory used, grey does not fit, a line is the frontier."""
    ink = INK[dark]
    line, work = frontier_line(plan, grid), plan.workload
    traces = [
        _shades(grid, ink),
        {
            "type": "scatter",
            "x": [tokens for _, tokens in line],
            "y": [users for users, _ in line],
            "mode": "lines",
            "line": {"color": "#000000", "width": 3, "shape": "vhv"},
            "hoverinfo": "skip",
            "name": "frontier",
        },
        {
            "type": "scatter",
            "x": [work.context],
            "y": [work.concurrency],
            "mode": "markers",
            "marker": {
                "symbol": "star",
                "size": 17,
                "color": "#ffd23f",
                "line": {"color": "#000000", "width": 1.5},
            },
            "cliponaxis": False,
            "hovertext": [f"This plan: {format_bytes(plan.total_bytes_per_gpu)} per GPU"],
            "hoverinfo": "text",
            "name": "this plan",
        },
    ]
    x_title, y_title = "Context (tokens per user)", "Users (sequences at once)"
    layout = {
        "height": 420,
        "font": {"color": ink},
        "margin": MARGIN,
        "showlegend": False,
        "uirevision": "map",
        "xaxis": _log_axis(x_title, grid.context_exponents, ink, tokens=True),
        "yaxis": _log_axis(y_title, grid.user_exponents, ink, tokens=False),
        **_labels(plan, grid, ink),
    }
    return go.Figure(data=traces, layout=layout)


def _shades(grid: CapacityMap, ink: str) -> dict[str, Any]:
    light, dark = FITS_COLOURS
    return {
        "type": "heatmap",
        "x": grid.contexts,
        "y": grid.users,
        "z": 100 * grid.used,
        "zmin": 0,
        "zmax": 125,
        "colorscale": [[0, light], [0.8, dark], [0.8, FULL_COLOUR], [1, FULL_COLOUR]],
        "colorbar": {
            "tickvals": [0, 25, 50, 75, 100, 112.5],
            "ticktext": ["0 %", "25 %", "50 %", "75 %", "100 %", "does<br>not fit"],
            "tickfont": {"color": ink},
            "thickness": 12,
            "outlinewidth": 0,
        },
        "hovertemplate": "%{y:,.0f} users × %{x:,.0f} tokens: %{z:.0f} % of a GPU<extra></extra>",
        "name": "memory",
    }


def _labels(plan: Plan, grid: CapacityMap, ink: str) -> dict[str, Any]:
    """Words on the two regions, and where the configuration's stated context ends."""
    (x0, x1), (y0, y1) = grid.context_exponents, grid.user_exponents
    words, lines = [], []
    if grid.used[0][0] <= 1:
        words.append(_word("fits", x0, y0, "left", "bottom") | {"bgcolor": FITS_COLOURS[0]})
    if grid.used[-1][-1] > 1:
        words.append(_word("does not fit", x1, y1, "right", "top") | {"bgcolor": FULL_COLOUR})
    stated = plan.model.max_position_embeddings
    if stated is not None and x0 < log2(stated) < x1:
        at = log2(stated)
        text = f"stated context {short_tokens(stated)}"
        above = {"y": 1, "yref": "paper", "font": {"size": 13, "color": ink}}
        words.append(_word(text, at, y1, "center", "bottom") | above)
        line = {"color": ON_MAP, "width": 1.5, "dash": "dash"}
        lines.append(
            {"type": "line", "x0": stated, "x1": stated, "y0": 0, "y1": 1, "yref": "paper",
             "line": line}
        )  # fmt: skip
    return {"annotations": words, "shapes": lines}


def _word(text: str, x: float, y: float, xanchor: str, yanchor: str) -> dict[str, Any]:
    """Text at exponents of two."""
    return {
        "text": text,
        "x": _log10(x),
        "y": _log10(y),
        "xanchor": xanchor,
        "yanchor": yanchor,
        "showarrow": False,
        "font": {"size": 13, "color": ON_MAP},
    }


def _log10(exponent: float) -> float:
    """Where 2**exponent lies on a log axis, as plotly counts for annotations and ranges."""
    return exponent * log10(2)


def _log_axis(title: str, exponents: tuple[int, int], ink: str, *, tokens: bool) -> dict[str, Any]:
    """A log axis with powers of two named, every second one when there are many."""
    low, high = exponents
    ticks = [2**e for e in range(low, high + 1, 1 if high - low <= 9 else 2)]
    return {
        "title": {"text": title, "font": {"color": ink}},
        "tickfont": {"color": ink},
        "type": "log",
        "tickvals": ticks,
        "ticktext": [short_tokens(n) if tokens else format_tokens(n) for n in ticks],
        "range": [_log10(low), _log10(high)],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }


def cache_lines(
    names: Sequence[str],
    contexts: Sequence[int],
    sizes: Sequence[Sequence[int]],
    *,
    dark: bool = False,
) -> go.Figure:
    """Cache and state of one sequence against its length: a line, dash and marker per name."""
    ink = INK[dark]
    traces = [
        {
            "type": "scatter",
            "x": contexts,
            "y": row,
            "name": name,
            "mode": "lines+markers",
            "line": {"color": LINE_COLOURS[i % 6], "dash": DASHES[i % 6], "width": 2},
            "marker": {"symbol": SYMBOLS[i % 6], "size": 7},
            "cliponaxis": False,
            "hovertext": [
                f"{name}: {format_bytes(size)} at {format_tokens(n)} tokens"
                for n, size in zip(contexts, row, strict=True)
            ],
            "hoverinfo": "text",
        }
        for i, (name, row) in enumerate(zip(names, sizes, strict=True))
    ]
    found = [size for row in sizes for size in row if size] or [1]
    low, high = floor(log2(min(found))), ceil(log2(max(found)))
    ticks = [2**e for e in range(low, high + 1, 1 + (high - low) // 8)]
    across = (floor(log2(min(contexts))), ceil(log2(max(contexts))))
    layout = {
        "height": 400,
        "font": {"color": ink},
        "margin": MARGIN,
        "legend": {"orientation": "h", "y": -0.2, "font": {"color": ink}},
        "uirevision": "lines",
        "xaxis": _log_axis("Context (tokens)", across, ink, tokens=True),
        "yaxis": _log_axis("Cache of one sequence", (low, high), ink, tokens=False)
        | {"tickvals": ticks, "ticktext": [format_bytes(n) for n in ticks], "showgrid": True},
    }
    return go.Figure(data=traces, layout=layout)
