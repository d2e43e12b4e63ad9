"""Attention in fp8: outliers, and the rotation of queries and keys that spreads them."""

import streamlit as st

from planner.attention import Heads
from planner.lessons.incoherent import DRAWS, QUERIES, Errors, block_size, errors
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

LENGTHS = (256, 1024, 4096)


@st.cache_data(max_entries=8, show_spinner="Computing attention in fp8")
def _found(head_dim: int, value_dim: int) -> tuple[Errors, ...]:
    return tuple(errors(n, head_dim, value_dim) for n in LENGTHS)


def show(heads: Heads) -> None:
    parts.idea(
        "3: fp8, and a rotation before it",
        "e4m3 keeps 3 bits of mantissa, and the scores that outliers decide lose most. Queries and "
        "keys times one orthogonal matrix have the same scores, but no entry stands out.",
    )
    width, block = heads.score_dim, block_size(heads.score_dim)
    found = _found(width, heads.value_dim)
    last = found[-1]
    parts.formula(
        "(Q M)(K M)ᵀ = Q M Mᵀ Kᵀ = Q Kᵀ, M = random signs × Hadamard / "
        f"√{block}" + ("" if block == width else f" on each {block} of {width} entries"),
        f"Largest entry of K: {last.largest:.0f} root mean squares, rotated "
        f"{last.largest_rotated:.1f}",
        f"Off by {last.plain:.2g} without, {last.rotated:.2g} with rotation: "
        f"{last.gain:.1f} times less at {last.tokens:,} tokens",
    )
    chart = charts.bars(
        [f"{e.tokens:,} tokens" for e in found],
        {"as drawn": [e.plain for e in found], "rotated": [e.rotated for e in found]},
        "Root mean square error of the output", dark=dark(),
        labels=[[f"{e.plain:.2g}" for e in found], [f"{e.rotated:.2g}" for e in found]],
        xaxis={"showticklabels": False},
    )  # fmt: skip
    rows = [
        [f"{e.tokens:,}", f"{e.fp16:.1e}", f"{e.plain:.1e}", f"{e.rotated:.1e}", f"{e.gain:.1f}×"]
        for e in found
    ]
    table = html_table(("Tokens", "fp16", "fp8", "Rotated", "Less"), rows, numeric=range(1, 5))
    alt = "Bars of the error of fp8 attention by length, as drawn and rotated: " + ", ".join(
        f"{e.plain:.2g} and {e.rotated:.2g} at {e.tokens:,} tokens" for e in found
    )
    parts.figure(chart, "explain_fp8", f"{alt}.", table)
    parts.note(
        f"Computed here for heads of {width}, against 64-bit numbers: N(0, 1), with N(0, 100) on "
        f"top of one entry in 1,000, and one scale for each tensor; {QUERIES} queries in each of "
        f"{DRAWS} draws. FlashAttention-3 reports 0.024 and 0.0091, 2.6 times less, for such "
        "numbers (arXiv 2407.08608). The gain differs from draw to draw, and tends to grow with "
        "the length, since outliers of queries and keys meet more often."
    )
