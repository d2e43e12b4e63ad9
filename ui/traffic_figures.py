"""The course of a simulation as lines over time. Numbers in, figure out."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from ui.figures import DASHES, INK, LINE_COLOURS, MARGIN


def over_time(
    rows: Sequence[dict[str, float]],
    lines: Sequence[tuple[str, Sequence[float]]],
    title: str,
    *,
    percent: bool = False,
    dark: bool = False,
) -> go.Figure:
    """A line per (name, values), one value for each row's span of time."""
    ink = INK[dark]
    scale, sign = (100, " %") if percent else (1, "")
    at = [row["start_s"] for row in rows]
    traces = [
        {
            "type": "scatter", "mode": "lines", "name": name,
            "x": at, "y": [scale * value for value in values],
            "line": {"color": LINE_COLOURS[i % 6], "dash": DASHES[i % 6], "width": 2},
            "hovertemplate": f"{name}: %{{y:,.1f}}{sign} at %{{x:,.0f}} s<extra></extra>",
        }
        for i, (name, values) in enumerate(lines)
    ]  # fmt: skip
    most = max((max(values, default=0.0) for _, values in lines), default=0.0)
    form = "~s" if not percent else ".0f" if most > 0.1 else "~r"
    axis: dict[str, Any] = {"tickfont": {"color": ink}, "fixedrange": True, "zeroline": False}
    layout = {
        "height": 300, "font": {"color": ink}, "margin": MARGIN, "showlegend": True,
        "legend": {"orientation": "h", "y": -0.28, "font": {"color": ink}},
        "xaxis": axis | {"title": {"text": "Seconds", "font": {"color": ink}},
                         "separatethousands": True},
        "yaxis": axis | {"title": {"text": title, "font": {"color": ink}}, "rangemode": "tozero",
                         "tickformat": form, "ticksuffix": sign},
    }  # fmt: skip
    return go.Figure(data=traces, layout=layout)
