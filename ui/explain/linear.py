"""Linear attention on numbers small enough to read, and its state for the plan's own heads."""

import streamlit as st

from planner.attention import Heads
from planner.lessons.linear_attention import (
    Step,
    parallel,
    phi,
    recurrence,
    state_elements,
    tokens_of_cache,
)  # fmt: skip
from ui.bound import BOUND
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

QUERIES = ((1.0, 0.0), (0.0, 1.0), (2.0, -1.0), (-1.0, 2.0), (1.0, 1.0), (0.0, -2.0))
KEYS = ((0.0, 0.0), (1.0, -1.0), (-1.0, 2.0), (2.0, 1.0), (0.0, 1.0), (-2.0, 0.0))
VALUES = ((1.0, 0.0), (0.0, 2.0), (3.0, 1.0), (-1.0, 4.0), (2.0, 2.0), (5.0, -3.0))


def show(heads: Heads) -> None:
    parts.idea(
        "Linear attention: a state instead of a cache",
        "With φ(x) = elu(x) + 1 instead of the exponential, keys and values can be summed up "
        "before the query comes. Token by token it is the same as all at once, from a state that "
        "never grows; what softmax would have picked out is blurred.",
    )
    n = st.slider("Tokens so far", 1, len(KEYS), 4, key="linear", **BOUND)
    q, k, v = QUERIES[:n], KEYS[:n], VALUES[:n]
    steps, whole = recurrence(q, k, v), parallel(q, k, v)
    last = steps[-1]
    score, value = heads.score_dim, heads.value_dim
    kept = state_elements(score, value)
    parts.formula(
        "S = S + φ(k) vᵀ, z = z + φ(k), output = φ(q) S / (φ(q) · z)",
        f"Token {n}: φ(k) = ({_row(phi(k[-1]))}), v = ({_row(v[-1])}), φ(q) = ({_row(phi(q[-1]))})",
        f"Output ({_row(last.output)}); all at once ({_row(whole[-1])})",
        f"One head of this model: {score} × {value} + {score} = {kept:,} numbers, as many as "
        f"K and V of {tokens_of_cache(score, value):,.1f} tokens",
    )
    names = [f"Token {i}" for i in range(1, n + 1)]
    chart = charts.bars(
        names,
        {"token by token": [s.output[0] for s in steps], "all at once": [w[0] for w in whole]},
        "First number of the output", dark=dark(),
        labels=[[f"{s.output[0]:.4f}" for s in steps], [f"{w[0]:.4f}" for w in whole]],
    )  # fmt: skip
    rows = [
        [f"{i}", _state(step), _row(step.normaliser), f"{step.output[0]:.4f}", f"{row[0]:.4f}"]
        for i, (step, row) in enumerate(zip(steps, whole, strict=True), 1)
    ]
    table = html_table(
        ("Token", "State S", "Normaliser z", "By token", "At once"), rows, numeric=(3, 4)
    )
    alt = f"Bars of the first number of the output of {n} tokens, the same both ways."
    parts.figure(chart, "explain_linear", alt, table)
    parts.note(
        "Katharopoulos et al. 2020 (arXiv 2006.16236). Linear above is a later form without the "
        "normaliser (Lightning Attention), whose state is the matrix alone."
    )


def _row(row: tuple[float, ...]) -> str:
    return ", ".join(f"{x:.3g}" for x in row)


def _state(step: Step) -> str:
    return "; ".join(_row(row) for row in step.state)
