"""Heads: one model with every form of attention, and what papers say it costs in quality."""

import streamlit as st

from planner.lessons.heads import Form, forms
from planner.parameters import in_words
from planner.parameters import parts as shared_out
from planner.plan import Plan
from planner.units import format_bytes, format_tokens
from presets.published import Quality, quality, remarks
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, linear, parts
from ui.tables import html_table
from ui.theme import dark

LENGTHS = tuple(2**e for e in range(10, 21))
WINDOWS = tuple(2**e for e in range(9, 16))


def show(plan: Plan) -> None:
    a, b = st.columns(2)
    n = a.select_slider(
        "Tokens in one sequence", LENGTHS, 32768, format_func=short_tokens, key="heads_n",
        **BOUND,
    )  # fmt: skip
    window = b.select_slider(
        "Window", WINDOWS, 4096, format_func=short_tokens, key="window", **BOUND
    )
    same = st.toggle(
        "Same parameters for all forms", key="same_parameters",
        help="Feed-forward layers become wider or narrower, in multiples of 128 and experts in "
        "multiples of 16, until every form has about as many parameters as the published model.",
        **BOUND,
    )  # fmt: skip
    found = forms(plan.model, plan.deployment, n, window, same_parameters=same)
    _bytes(plan, found, n)
    _flops(found, n)
    if plan.footprint.heads is not None:
        linear.show(plan.footprint.heads)
    _quality()


def _bytes(plan: Plan, found: tuple[Form, ...], n: int) -> None:
    parts.idea(
        "Fewer heads to remember",
        "The same model with another attention: what one sequence leaves in memory. Queries stay "
        "as many as they are; only keys and values are shared, compressed, cut off or summed up.",
    )
    own = found[0]
    largest = max(found, key=lambda form: form.cache_bytes)
    parts.formula(
        f"{own.name}: {format_bytes(own.bytes_per_token)} a token, {format_bytes(own.cache_bytes)} "
        f"at {format_tokens(n)} tokens",
        f"{largest.name}: {format_bytes(largest.cache_bytes)}, "
        f"{parts.times(largest.cache_bytes / max(1, own.cache_bytes))} that",
        f"Parameters as published: {in_words(shared_out(plan.model).shares())}",
    )
    chart = charts.bars(
        [f.name for f in found],
        {"cache": [f.cache_bytes for f in found]},
        "Cache and state of one sequence",
        dark=dark(),
        labels=[[format_bytes(f.cache_bytes) for f in found]],
        xaxis={"showticklabels": False},
    )
    rows = [
        [f.name, f"{f.parameters / 1e9:,.2f} B", format_bytes(f.bytes_per_token),
         format_bytes(f.cache_bytes), f"{f.cache_bytes / max(1, own.cache_bytes):.3g}×"]
        for f in found
    ]  # fmt: skip
    table = html_table(
        ("Attention", "Parameters", "A token", f"{short_tokens(n)} tokens", "Ratio"), rows,
        numeric=range(1, 5),
    )  # fmt: skip
    alt = f"Bars of the cache of one sequence of {format_tokens(n)} tokens by form of attention."
    parts.figure(chart, "explain_heads", alt, table)
    parts.note(" ".join(f"{f.name}: {f.description}." for f in found))
    parts.note(
        f"Ratio: to the cache as published. Cache format: {plan.footprint.kv_format.name}. A model "
        "must be trained that way."
    )


def _flops(found: tuple[Form, ...], n: int) -> None:
    parts.idea(
        "Fewer bytes, not fewer FLOPs",
        "Sharing heads leaves the arithmetic of a decode step as it is, and MLA even adds to it; "
        "only a window or a fixed state computes less.",
    )
    own = found[0]
    read = own.flops / max(1, own.cache_bytes)
    parts.formula(
        f"{own.name}: {parts.flops(own.flops)} for one step over {format_tokens(n)} tokens, "
        f"{read:,.1f} FLOPs for each byte of cache"
    )
    chart = charts.bars(
        [f.name for f in found],
        {"FLOPs": [f.flops for f in found]},
        "FLOPs of attention in one decode step",
        dark=dark(),
        labels=[[parts.flops(f.flops) for f in found]],
        xaxis={"showticklabels": False},
    )
    rows = [
        [f.name, parts.flops(f.flops), f"{f.flops / max(1, f.cache_bytes):,.1f}"] for f in found
    ]
    table = html_table(("Attention", "One step", "FLOPs per byte"), rows, numeric=(1, 2))
    alt = "Bars of the FLOPs of attention in one decode step by form of attention."
    parts.figure(chart, "explain_head_flops", alt, table)


def _quality() -> None:
    parts.idea(
        "What it costs in quality",
        "Scores that papers report for the same model trained with several forms, as points above "
        "or below multi-head attention.",
    )
    found = quality()
    names = [f"{q.model}, {form}" for q in found for form in q.scores if form != "MHA"]
    values = [round(v - q.scores["MHA"], 1) for q in found for f, v in q.scores.items()
              if f != "MHA"]  # fmt: skip
    chart = charts.bars(
        names, {"points": values}, "Points against multi-head attention", dark=dark(),
        labels=[[f"{v:+.1f}" for v in values]],
    )  # fmt: skip
    table = html_table(
        ("Paper", "Model and measure", "Scores"), [_quality_row(q) for q in found], stack=True
    )
    alt = "Points gained or lost against multi-head attention: " + ", ".join(
        f"{name} {value:+.1f}" for name, value in zip(names, values, strict=True)
    )
    parts.figure(chart, "explain_quality", f"{alt}.", table, below=True)
    for remark in remarks():
        parts.note(f"{remark.form}: {remark.text} ({remark.source})")


def _quality_row(found: Quality) -> list[str]:
    scores = ", ".join(f"{form} {score:.1f}" for form, score in found.scores.items())
    return [
        f"{found.paper} ({found.source})",
        f"{found.model}, {found.measure}",
        f"{scores}. {found.note[:1].upper()}{found.note[1:]}.",
    ]
