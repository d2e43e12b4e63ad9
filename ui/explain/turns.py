"""Ping-pong: two warp groups take turns at the tensor cores of one multiprocessor."""

import streamlit as st

from planner.attention import Heads
from planner.lessons import ping_pong as lesson
from planner.plan import Plan
from planner.units import format_share
from ui.bound import BOUND
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

ROWS = ("In turn, 1", "In turn, 2", "Ping-pong, 1", "Ping-pong, 2")


def show(plan: Plan, heads: Heads) -> None:
    work = lesson.step_work(heads, plan.gpu)
    parts.idea(
        "3: two groups of warps play ping-pong",
        "While one group computes exponentials, the other has the tensor cores. A third group only "
        "fetches tiles, so that neither waits for a copy: warps are specialised.",
    )
    steps = st.slider("Tiles of keys", 1, 12, 4, key="tiles", **BOUND)
    turn, pong = lesson.in_turn(work, steps), lesson.ping_pong(work, steps)
    products = work.scores_s + work.values_s
    parts.formula(
        f"Products of a tile: 2 × {lesson.QUERIES} × {lesson.KEYS} × ({heads.score_dim} + "
        f"{heads.value_dim}) FLOP on one of {plan.gpu.sm_count} multiprocessors = "
        f"{_ns(products)}",
        f"Exponentials: {lesson.QUERIES} × {lesson.KEYS} = {lesson.QUERIES * lesson.KEYS:,} in "
        f"{_ns(work.exponentials_s)}, {format_share(work.exponentials_s / products)} of that",
        f"{steps} {'tile' if steps == 1 else 'tiles'} for both: {_ns(turn.seconds)} in turn, "
        f"{_ns(pong.seconds)} in ping-pong, {turn.seconds / pong.seconds:.2f} times as fast",
    )
    rows = [
        [name, _ns(found.seconds), format_share(lesson.tensor_share(found))]
        for name, found in (("In turn", turn), ("Ping-pong", pong))
    ]
    table = html_table(("Groups", "Time", "Tensor cores busy"), rows, numeric=(1, 2))
    alt = (
        f"Rows of time of two groups, in turn {_ns(turn.seconds)} and in ping-pong "
        f"{_ns(pong.seconds)}."
    )
    chart = charts.timeline(lesson.above(turn, pong), dark=dark(), names=ROWS)
    parts.figure(chart, "explain_ping_pong", alt, table)
    parts.note(
        "At the published peaks of the card, one multiprocessor, no mask. In turn is the least "
        "time of a kernel in which nothing overlaps; real ones overlap some by chance. "
        "FlashAttention-3 reports 570 TFLOP/s without the turns and 620 to 640 with them, for "
        "heads of 128 on an H100 (arXiv 2407.08608). Copies are not drawn: no data gives the rate "
        "of the L2 cache."
    )


def _ns(value: float) -> str:
    return f"{value * 1e9:,.0f} ns"
