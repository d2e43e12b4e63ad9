"""Numbers people quote: every claim computed again, with a verdict and one sentence why."""

from collections.abc import Sequence

import streamlit as st

from planner.lessons.claims import Claim, recompute
from planner.lessons.quantities import ESTIMATES, Figure
from presets.claims import claim_sources, load_claims, presets
from ui.bound import BOUND
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

SIGNS = {
    "holds": "✓\u00a0holds",
    "near": "≈\u00a0near",
    "misleading": "!\u00a0misleading",
    "wrong": "✕\u00a0wrong",
    "wrong for this model": "✕\u00a0wrong for this model",
}
ALL = "all"


def show() -> None:
    parts.idea(
        "Numbers people quote",
        "Claims from five articles and notes on attention, each computed again here from the same "
        "inputs. Those that do not hold are off by a number of heads or by a unit, or leave out "
        "what they depend on: the length, the baseline, the card.",
    )
    claims = load_claims()
    values = _values()
    counts = {v: sum(1 for c in claims if c.verdict == v) for v in SIGNS}
    parts.formula(f"{len(claims)} claims: " + ", ".join(f"{v} {n}" for v, n in counts.items()))
    chart = charts.bars(
        [SIGNS[v] for v in counts], {"claims": list(counts.values())}, "Claims",
        dark=dark(), labels=[[str(n) for n in counts.values()]],
    )  # fmt: skip
    rows = [[title, str(sum(1 for c in claims if c.source == key)), _of(claims, key)]
            for key, title in claim_sources().items()]  # fmt: skip
    table = html_table(("Source", "Claims", "Hold"), rows, numeric=(1, 2))
    alt = "Bars of the claims by verdict: " + ", ".join(f"{v} {n}" for v, n in counts.items())
    parts.figure(chart, "explain_claims", f"{alt}.", table)
    chosen = st.segmented_control(
        "Show", (ALL, *SIGNS), default=ALL, key="verdict", required=True, **BOUND
    )
    shown = [c for c in claims if chosen in (ALL, c.verdict)]
    for key, title in claim_sources().items():
        if found := [c for c in shown if c.source == key]:
            st.html(_table(found, values, title))
    parts.note("GB is 10⁹ bytes and GiB 2³⁰; where an article's GB are GiB, the unit here is GiB.")


def _of(claims: Sequence[Claim], source: str) -> str:
    return str(sum(1 for c in claims if c.source == source and c.verdict == "holds"))


@st.cache_data(max_entries=1)
def _values() -> dict[str, Figure]:
    """Claim id -> what the planner computes; once for each server, since inputs never change."""
    known = presets()
    return {claim.id: recompute(claim, known) for claim in load_claims()}


def _table(claims: Sequence[Claim], values: dict[str, Figure], title: str) -> str:
    rows = [
        [
            claim.claim,
            _figure(claim.claimed, claim.unit),
            _computed(claim, values[claim.id]),
            SIGNS[claim.verdict],
            claim.why,
        ]
        for claim in claims
    ]
    head = ("Claim", "Quoted", "Computed", "Verdict", "Why")
    return html_table(head, rows, caption=title, numeric=(1, 2), stack=True)


def _computed(claim: Claim, value: Figure) -> str:
    """To four digits; an estimate says so and has two."""
    if claim.quantity not in ESTIMATES:
        return _figure(value, claim.unit)
    return f"{_figure(value, claim.unit, digits=2)} (estimate)"


def _figure(value: Figure | str | None, unit: str, *, digits: int = 4) -> str:
    """'0.125 GiB', '8 and 32 ×', 'fits 40 GB'; a claim without a figure of its own has a dash."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if unit == "of peak":
        unit, value = "%", _percent(value)
    *others, last = value if isinstance(value, tuple) else (value,)
    end = _number(last, digits)
    before = ", ".join(_number(other, digits) for other in others)
    numbers = f"{before} and {end}" if before else end
    return f"{numbers} {'×' if unit == 'x' else unit}".strip()


def _percent(value: Figure) -> Figure:
    return tuple(100 * v for v in value) if isinstance(value, tuple) else 100 * value


def _number(value: float, digits: int) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"
