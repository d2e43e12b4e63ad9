"""KV cache: decoding with and without it, and how it grows."""

from itertools import accumulate

import streamlit as st

from planner.errors import PlanRefused
from planner.lessons import decode_steps
from planner.plan import Plan
from planner.units import format_bytes, format_seconds, format_tokens
from presets.speed import speed_of
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

MOST = 200
PROMPTS = (0, 128, 512, *(2**e for e in range(10, 16)))
ANSWERS = (16, 64, 100, 128, 256, 500, 1024, 2048)
TYPICAL = ((0, 100), (512, 500), (1024, 256), (2048, 128))
"""Tokens before an answer, and of it: a sentence, a chat, an assistant's reply, a summary."""


def show(plan: Plan) -> None:
    _projections(plan)
    _seconds(plan)
    _growth(plan)


def _projections(plan: Plan) -> None:
    parts.idea(
        "Without a cache, every step starts over",
        "A key and a value never change once computed. Without a cache each step computes those of "
        "all tokens so far again; with one, only those of the new token.",
    )
    n = st.slider("Tokens generated", 1, MOST, 100, key="steps", **BOUND)
    without, with_cache = decode_steps.totals(n)
    each = decode_steps.projection_flops(plan.model)
    parts.formula(
        f"Without: n(n + 1) / 2 = {n} × {n + 1} / 2 = {without:,} projections",
        f"With: n = {with_cache:,} projections, {parts.times(without / with_cache)} fewer",
        f"One projection in {plan.model.source}, keys and values of one token in all layers: "
        f"{parts.flops(each)}; without a cache {parts.flops(without * each)}, "
        f"with one {parts.flops(with_cache * each)}",
    )
    found = decode_steps.steps(n)
    x = [s.number for s in found]
    chart = charts.lines(
        x,
        {
            "without a cache": list(accumulate(s.without_cache for s in found)),
            "with a cache": list(accumulate(s.with_cache for s in found)),
        },
        ("Tokens generated", "Projections so far"),
        dark=dark(),
        marks=[(n, without, f"{without:,}")],
    )
    shown = sorted({1, 2, 3, *(max(1, round(n * k / 5)) for k in range(1, 6))})
    rows = [
        [format_tokens(s.number), *(f"{v:,}" for v in _numbers(s))]
        for s in (decode_steps.step(i) for i in shown if i <= n)
    ]
    table = html_table(
        ("Step", "Without, this step", "With", "Without, so far", "With, so far"),
        rows, numeric=range(1, 5),
    )  # fmt: skip
    alt = (
        f"Projections computed while {n} tokens are generated: a curve up to {without:,} without a "
        f"cache, a straight line up to {with_cache} with one."
    )
    parts.figure(chart, "explain_projections", alt, table)


def _numbers(found: decode_steps.Step) -> tuple[int, int, int, int]:
    return found.without_cache, found.with_cache, found.total_without, found.total_with


def _seconds(plan: Plan) -> None:
    parts.idea(
        "What that is in time",
        "Every step reads all weights, with a cache or without one. So a cache gains little on "
        "short texts, and the more the longer the prompt is that each step would compute again.",
    )
    try:
        speed = speed_of(plan.gpu)
    except PlanRefused as refused:
        parts.note(f"{refused}.")
        return
    a, b = st.columns(2)
    prompt = a.select_slider(
        "Tokens before the answer", PROMPTS, 1024, format_func=format_tokens, key="before",
        **BOUND,
    )  # fmt: skip
    answer = b.select_slider(
        "Tokens of the answer", ANSWERS, 256, format_func=format_tokens, key="answer",
        **BOUND,
    )  # fmt: skip

    def spent(before: int, own: int) -> decode_steps.Spent:
        return decode_steps.seconds(
            plan.model, plan.gpu, plan.deployment, speed, prompt=before, answer=own
        )

    shapes = [(prompt, answer), *(t for t in TYPICAL if t != (prompt, answer))]
    found = [spent(*shape) for shape in shapes]
    names = [f"{format_tokens(before)} + {format_tokens(own)}" for before, own in shapes]
    own = found[0]
    parts.formula(
        f"{names[0]} tokens on {plan.gpu.name}, an estimate: without a cache "
        f"{format_seconds(own.without_cache_s)}, with one {format_seconds(own.with_cache_s)}: "
        f"{parts.times(own.ratio)} as fast",
    )
    times = {
        "without a cache": [each.without_cache_s for each in found],
        "with a cache": [each.with_cache_s for each in found],
    }
    chart = charts.bars(
        names, times, "Estimated time of one user (s)", dark=dark(),
        labels=[[format_seconds(value) for value in row] for row in times.values()],
    )  # fmt: skip
    rows = [
        [name, format_seconds(each.without_cache_s), format_seconds(each.with_cache_s),
         f"{each.ratio:,.{1 if each.ratio < 10 else 0}f} ×"]
        for name, each in zip(names, found, strict=True)
    ]  # fmt: skip
    table = html_table(
        ("Before + answer", "Without", "With", "Faster"), rows, numeric=range(1, 4), strong=(0,)
    )
    alt = "Bars of the estimated time with and without a cache: " + ", ".join(
        f"{name} tokens {parts.times(each.ratio)} as fast"
        for name, each in zip(names, found, strict=True)
    )
    parts.figure(chart, "explain_cached_time", f"{alt}.", table)
    parts.note(
        "Without a cache each token takes a pass over all tokens so far. "
        f"Source of the times: {speed.source_for(plan.model)}."
    )


def _growth(plan: Plan) -> None:
    parts.idea(
        "What is not computed is stored",
        "The cache grows with every token of every user, until windows, if there are any, are "
        "full; a recurrent state does not grow.",
    )
    n = st.select_slider(
        "Tokens in one sequence",
        [2**e for e in range(7, 21)],
        32768,
        format_func=short_tokens,
        key="grown",
        **BOUND,
    )
    terms, state = plan.footprint.terms, plan.state_bytes_per_sequence
    lengths = [n * k // 32 for k in range(33)]
    sizes = decode_steps.growth(terms, state, lengths)
    pieces = [
        f"{format_bytes(t.bytes_per_entry)}"
        + (f" / {t.stride}" if t.stride > 1 else "")
        + f" × {format_tokens(t.held_tokens(n))}"
        + (" (window)" if t.window and t.held_tokens(n) < n else "")
        for t in terms
    ]
    pieces += [f"{format_bytes(state)} of state"] if state else []
    users = plan.workload.concurrency
    parts.formula(
        f"Bytes a token × tokens = {' + '.join(pieces) or '0'} = {format_bytes(sizes[-1])}",
        f"Times {format_tokens(users)} users of this plan: {format_bytes(users * sizes[-1])}; "
        f"one {plan.gpu.name} has {format_bytes(plan.gpu.memory_bytes)}",
    )
    top = max(sizes[-1], 1)
    chart = charts.lines(
        lengths, {"one sequence": sizes}, ("Tokens", "Cache of one sequence"), dark=dark(),
        marks=[(n, sizes[-1], format_bytes(sizes[-1]))],
        yaxis={
            "tickvals": [top * k / 4 for k in range(5)],
            "ticktext": [format_bytes(top * k // 4) for k in range(5)],
            "rangemode": "tozero",
        },
    )  # fmt: skip
    shown = [n // 16, n // 8, n // 4, n // 2, n]
    rows = [
        [format_tokens(k), format_bytes(size), format_bytes(users * size)]
        for k, size in zip(shown, decode_steps.growth(terms, state, shown), strict=True)
    ]
    head = ("Tokens", "One sequence", f"{format_tokens(users)} sequences")
    alt = f"The cache of one sequence up to {format_tokens(n)} tokens: {format_bytes(sizes[-1])}."
    parts.figure(chart, "explain_growth", alt, html_table(head, rows, numeric=(1, 2)))
