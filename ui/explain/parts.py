"""How every lesson is laid out: the idea, the formula with its numbers, the chart, its table."""

from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from ui import figures


def idea(title: str, sentence: str) -> None:
    """A heading and the one thing to see below it."""
    st.header(title, anchor=False)
    st.html(f'<p class="sz-idea">{escape(sentence)}</p>')


def formula(*texts: str) -> None:
    """Formulas with the live numbers in them, a line each."""
    st.html(f'<p class="sz-formula">{"<br>".join(escape(text) for text in texts)}</p>')


def note(text: str) -> None:
    """A remark or a source below a figure."""
    st.html(f'<p class="sz-note">{escape(text)}</p>')


def figure(chart: go.Figure, key: str, alt: str, table: str, *, below: bool = False) -> None:
    """A chart with its table beside it; below it on a phone or where the table has sentences."""
    left, right = (st.container(), st.container()) if below else _columns()
    with left:
        st.plotly_chart(
            chart, key=key, config=figures.CONFIG, alt=f"{alt} The table has the same numbers."
        )
    with right:
        st.html(table)


def _columns() -> tuple[Any, Any]:
    left, right = st.columns([3, 2], gap="medium")
    return left, right


def times(ratio: float) -> str:
    """'50.5 times', '8 times'."""
    return f"{ratio:,.0f} times" if ratio >= 100 or ratio == int(ratio) else f"{ratio:.3g} times"


def seconds(value: float) -> str:
    """'1.25 ms', '310 µs'."""
    if value >= 1:
        return f"{value:,.2f} s"
    return f"{value * 1e3:,.2f} ms" if value >= 1e-3 else f"{value * 1e6:,.1f} µs"


def flops(value: float) -> str:
    """'17.2 GFLOP'."""
    for unit, name in ((1e15, "PFLOP"), (1e12, "TFLOP"), (1e9, "GFLOP"), (1e6, "MFLOP")):
        if value >= unit:
            return f"{value / unit:,.3g} {name}"
    return f"{value:,.0f} FLOP"
