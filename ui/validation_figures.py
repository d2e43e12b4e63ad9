"""Figures of a record: predicted against measured, and the roofline with its points."""

from collections.abc import Iterable
from math import log10

import plotly.graph_objects as go

from ui.figures import DASHES, INK, LINE_COLOURS, SYMBOLS
from validate.record import Case, Record
from validate.verdict import difference, value

SECTIONS = {
    "memory": "single tensors", "dry_run": "whole models", "speed": "single kernels",
    "training": "training steps",
}  # fmt: skip
PLACES = {"memory": 0, "dry_run": 1, "speed": 2, "training": 3, "kernels": 0}
"""Colour and symbol of a section, the same in every figure."""


def comparable(cases: Iterable[Case], unit: str) -> list[Case]:
    """Judged cases of one unit that have both figures."""
    return [
        case
        for case in cases
        if case.unit == unit
        and case.predicted
        and case.measured
        and not case.at_most
        and case.section in SECTIONS
    ]


def scatter(cases: Iterable[Case], unit: str, *, dark: bool = False) -> go.Figure:
    """Measured over predicted, with the spread of the samples and the diagonal."""
    found = comparable(cases, unit)
    figure = go.Figure()
    scale = 2.0**20 if unit == "bytes" else 1e-3
    name = "MiB" if unit == "bytes" else "ms"
    for section, label in SECTIONS.items():
        i = PLACES[section]
        own = [case for case in found if case.section == section]
        if not own:
            continue
        centre = [_of(case.measured) / scale for case in own]
        figure.add_trace(
            go.Scatter(
                x=[_of(case.predicted) / scale for case in own],
                y=centre,
                error_y={
                    "array": [
                        max(case.samples, default=0) / scale - y
                        for case, y in zip(own, centre, strict=True)
                    ],
                    "arrayminus": [
                        y - min(case.samples, default=0) / scale
                        for case, y in zip(own, centre, strict=True)
                    ],
                    "thickness": 1,
                },
                mode="markers",
                name=label,
                marker={"symbol": SYMBOLS[i], "size": 9, "color": LINE_COLOURS[i]},
                hovertext=[_hover(case) for case in own],
                hoverinfo="text",
            )
        )
    ends = [_of(f) / scale for case in found for f in (case.predicted, case.measured)] or [1.0]
    span = [min(ends) / 1.5, max(ends) * 1.5]
    figure.add_trace(
        go.Scatter(
            x=span, y=span, mode="lines", name="as predicted", hoverinfo="skip",
            line={"color": "#8b8f96", "dash": "dash", "width": 1.5},
        )
    )  # fmt: skip
    axis = _decades(*span)
    return _layout(figure, axis, (f"Predicted ({name})", f"Measured ({name})"), dark)


def roofline(record: Record, *, dark: bool = False) -> go.Figure:
    """FLOP/s over FLOPs per byte: the measured roofs, every kernel and every pass as a point."""
    figure = go.Figure()
    roofs = record.roofs
    points = [c for c in record.cases if c.unit == "s" and c.measured and c.details.get("flops")]
    spread = [c.details["flops"] / c.details["bytes"] for c in points] or [1.0]
    low, high = min(*spread, 1.0) / 2, max(*spread, 1000.0) * 2
    peaks = {k: v for k, v in roofs.items() if k.endswith("flops_per_s")}
    read = roofs.get("read_bytes_per_s")
    for i, (key, peak) in enumerate(peaks.items() if read else ()):
        assert read is not None
        figure.add_trace(
            go.Scatter(
                x=[low, peak / read, high], y=[low * read / 1e12, peak / 1e12, peak / 1e12],
                mode="lines", name=f"roof, {key.split('_')[0]}", hoverinfo="name",
                line={"color": "#8b8f96", "width": 2, "dash": DASHES[i]},
            )
        )  # fmt: skip
    kinds = ("kernels", "speed", "dry_run")
    labels = ("kernel ladder", "single kernels", "whole passes")
    for section, label in zip(kinds, labels, strict=True):
        i = PLACES[section]
        own = [case for case in points if case.section == section]
        if own:
            figure.add_trace(
                go.Scatter(
                    x=[c.details["flops"] / c.details["bytes"] for c in own],
                    y=[c.details["flops"] / _of(c.measured) / 1e12 for c in own],
                    mode="markers", name=label, hovertext=[_hover(c) for c in own],
                    hoverinfo="text",
                    marker={"symbol": SYMBOLS[i], "size": 9, "color": LINE_COLOURS[i]},
                )
            )  # fmt: skip
    axis = _decades(low, high)
    return _layout(figure, axis, ("FLOPs per byte", "TFLOP/s"), dark)


def _of(number: float | None) -> float:
    return 0.0 if number is None else number


def _hover(case: Case) -> str:
    text = f"{case.title}<br>measured {value(case, case.measured)}"
    if case.section == "kernels":
        return text
    return f"{text}, predicted {value(case, case.predicted)} ({difference(case)})"


def _decades(low: float, high: float) -> dict[str, object]:
    """A logarithmic axis with a tick for every decade, or every other where a phone has no room."""
    apart = 1 if log10(high / low) < 6 else 2
    return {"type": "log", "exponentformat": "none", "dtick": apart, "separatethousands": True}


def _layout(
    figure: go.Figure, axis: dict[str, object], titles: tuple[str, str], dark: bool
) -> go.Figure:
    ink = {"color": INK[dark]}
    x_axis, y_axis = (
        {**axis, "tickfont": ink, "title": {"text": title, "font": ink}} for title in titles
    )
    figure.update_layout(
        height=420,
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        legend={"orientation": "h", "y": -0.2, "font": ink},
        uirevision="validation",
        xaxis=x_axis,
        yaxis=y_axis,
    )
    return figure
