"""Plotly figures: one function each, numbers in, figure out. Tables beside them: ui.tables."""

from collections.abc import Sequence
from math import ceil, floor, log2, log10
from typing import Any

import plotly.graph_objects as go

from planner.plan import Plan
from planner.units import format_bytes, format_tokens
from ui.capacity_map import CapacityMap, short_tokens

CONFIG = {"displaylogo": False, "showSendToCloud": False, "displayModeBar": False}
"""For every figure, on the page and in reports: no logo, no button that uploads."""

FITS_COLOURS = ("#e4eefb", "#1c4587")
FULL_COLOUR = "#8b8f96"
POINT_COLOUR = "#ffd23f"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "cross", "x", "triangle-up")
LINE_COLOURS = ("#3d7edb", "#d2691e", "#159c8d", "#b86ad0", "#c2448a", "#8f8a2e")


def capacity_figure(plan: Plan, grid: CapacityMap, *, height: int = 420) -> go.Figure:
    """The map: shade is the share of memory used, grey does not fit, a line is the frontier."""
    figure = go.Figure()
    figure.add_trace(_shades(grid))
    figure.add_trace(
        go.Contour(
            x=grid.contexts,
            y=grid.users,
            z=grid.used,
            contours={"start": 1, "end": 1, "size": 1, "coloring": "none"},
            line={"color": "#000000", "width": 3},
            showscale=False,
            hoverinfo="skip",
            name="frontier",
        )
    )
    work = plan.workload
    figure.add_trace(
        go.Scatter(
            x=[work.context],
            y=[work.concurrency],
            mode="markers",
            marker={
                "symbol": "star",
                "size": 17,
                "color": POINT_COLOUR,
                "line": {"color": "#000000", "width": 1.5},
            },
            hovertext=[f"This plan: {format_bytes(plan.total_bytes_per_gpu)} per GPU"],
            hoverinfo="text",
            name="this plan",
        )
    )
    _labels(figure, plan, grid)
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        showlegend=False,
        uirevision="map",
        xaxis=_log_axis("Context (tokens per sequence)", grid.context_exponents, tokens=True),
        yaxis=_log_axis("Users (sequences at once)", grid.user_exponents, tokens=False),
    )
    return figure


def _shades(grid: CapacityMap) -> go.Heatmap:
    light, dark = FITS_COLOURS
    return go.Heatmap(
        x=grid.contexts,
        y=grid.users,
        z=grid.used,
        zmin=0,
        zmax=1.25,
        colorscale=[[0, light], [0.8, dark], [0.8, FULL_COLOUR], [1, FULL_COLOUR]],
        colorbar={
            "tickvals": [0, 0.25, 0.5, 0.75, 1, 1.125],
            "ticktext": ["0 %", "25 %", "50 %", "75 %", "100 %", "does<br>not fit"],
            "thickness": 12,
            "outlinewidth": 0,
        },
        hovertemplate="%{y:,.0f} users × %{x:,.0f} tokens: %{z:.0%} of a GPU<extra></extra>",
        name="memory",
    )


def _labels(figure: go.Figure, plan: Plan, grid: CapacityMap) -> None:
    """Words on the two regions, and where the configuration's stated context ends."""
    corner = {"showarrow": False, "font": {"size": 14}}
    (x0, x1), (y0, y1) = grid.context_exponents, grid.user_exponents
    if grid.used[0][0] <= 1:
        figure.add_annotation(
            x=_log10(x0), y=_log10(y0), text="fits", xanchor="left", yanchor="bottom",
            **corner | {"font": {"size": 14, "color": "#10151c"}},
        )  # fmt: skip
    if grid.used[-1][-1] > 1:
        figure.add_annotation(
            x=_log10(x1), y=_log10(y1), text="does not fit", xanchor="right", yanchor="top",
            **corner | {"font": {"size": 14, "color": "#10151c"}},
        )  # fmt: skip
    stated = plan.model.max_position_embeddings
    if stated is not None and x0 < log2(stated) < x1:
        figure.add_vline(x=stated, line={"color": "#10151c", "width": 1.5, "dash": "dash"})
        figure.add_annotation(
            x=log10(stated), y=_log10(y0), text=f"stated context {short_tokens(stated)}",
            showarrow=False, textangle=-90, xanchor="right", yanchor="bottom",
            font={"size": 12, "color": "#10151c"},
        )  # fmt: skip


def _log10(exponent: float) -> float:
    """Where 2**exponent lies on a log axis, as plotly counts for annotations and ranges."""
    return exponent * log10(2)


def _log_axis(title: str, exponents: tuple[int, int], *, tokens: bool) -> dict[str, Any]:
    """A log axis with powers of two named, every second one when there are many."""
    low, high = exponents
    ticks = [2**e for e in range(low, high + 1, 1 if high - low <= 9 else 2)]
    return {
        "title": title,
        "type": "log",
        "tickvals": ticks,
        "ticktext": [short_tokens(n) if tokens else format_tokens(n) for n in ticks],
        "range": [_log10(low), _log10(high)],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }


def cache_lines(
    names: Sequence[str], contexts: Sequence[int], sizes: Sequence[Sequence[int]]
) -> go.Figure:
    """Cache and state of one sequence against its length: a line, dash and marker per name."""
    figure = go.Figure()
    for i, (name, row) in enumerate(zip(names, sizes, strict=True)):
        figure.add_trace(
            go.Scatter(
                x=contexts,
                y=row,
                name=name,
                mode="lines+markers",
                line={"color": LINE_COLOURS[i % 6], "dash": DASHES[i % 6], "width": 2},
                marker={"symbol": SYMBOLS[i % 6], "size": 7},
                hovertext=[
                    f"{name}: {format_bytes(size)} at {format_tokens(n)} tokens"
                    for n, size in zip(contexts, row, strict=True)
                ],
                hoverinfo="text",
            )
        )
    found = [size for row in sizes for size in row if size] or [1]
    span = (floor(log2(min(found))), ceil(log2(max(found))))
    x_axis = _log_axis("Context (tokens)", _exponents(contexts), tokens=True)
    y_axis = _log_axis("Cache of one sequence", span, tokens=False)
    ticks = [2**e for e in range(span[0], span[1] + 1, 1 + (span[1] - span[0]) // 8)]
    y_axis |= {"tickvals": ticks, "ticktext": [format_bytes(n) for n in ticks], "showgrid": True}
    figure.update_layout(
        height=400,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": -0.2},
        uirevision="lines",
        xaxis=x_axis,
        yaxis=y_axis,
    )
    return figure


def _exponents(values: Sequence[int]) -> tuple[int, int]:
    return floor(log2(min(values))), ceil(log2(max(values)))
