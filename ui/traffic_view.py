"""The Traffic page: a simulation's answer, its course, what moves it, and the claims tried."""

from functools import partial
from html import escape
from math import ceil

import streamlit as st

from planner.errors import SizewellError
from planner.serving import objective, report
from planner.serving.claims import CLAIMS
from planner.serving.experiments import Outcome
from planner.serving.replica import Replica
from planner.serving.sensitivity import Moved, sensitivity
from planner.serving.simulator import Result, simulate
from planner.units import counted, format_share
from presets.speed import speed_of
from ui import figures, refusal, theme, traffic_figures, traffic_files, traffic_work
from ui.answered import answered
from ui.inputs import Chosen
from ui.sentence import as_sentence
from ui.tables import html_table
from ui.traffic_work import Pool, Work

SEARCHED = 800
"""Requests of one try when rates are searched for."""
MOST_SHARED = 16
"""How many times as many, at most, where several replicas share them."""
COMPARED = 400
"""Requests of one try when settings are compared."""


def show(chosen: Chosen) -> None:
    """Everything about one traffic."""
    st.title("Traffic", anchor=False)
    try:
        pool = traffic_work.choose_pool(chosen)
        note = st.empty()
        work = traffic_work.choose()
        one = pool.replica(chosen)
        times = as_sentence(f"Times: {speed_of(chosen.gpu).source_for(chosen.model)}")
        note.caption(f"{as_sentence(_replica_note(chosen, one))} {times}")
        with st.spinner("Simulating"):
            found = simulate(
                work.requests(), one, replicas=work.replicas, router=work.router, slo=work.slo
            )
    except SizewellError as error:
        refusal.show(error)
        return
    _answer(found)
    if found.finished:
        _figures(found, work)
        _course(found)
        traffic_files.downloads(chosen, found, work, one)
    _limits(chosen, pool, one, work)
    if work.trace is None:
        alone = pool.replica(chosen, drafts=False) if one.drafting else one
        _claims(chosen, pool, alone, work)


def _replica_note(chosen: Chosen, one: Replica) -> str:
    drafts = f". Drafting: {one.drafting}" if one.drafting else ""
    return (
        f"{chosen.model.source} on {chosen.deployment.gpus} × {chosen.gpu.name} a replica: "
        f"{report.pool(one)}. Requests are scheduled as vLLM schedules them{drafts}"
    )


def _answer(found: Result) -> None:
    box, icon = (st.success, "check_circle") if found.holds else (st.error, "cancel")
    box(f"**{as_sentence(report.verdict(found))}**", icon=f":material/{icon}:")
    if found.finished and found.refused:
        st.warning(as_sentence(report.refusals(found)))


def _figures(found: Result, work: Work) -> None:
    recorder = found.recorder
    tpot = f"{found.tpot.quantile(0.95) * 1e3:,.1f} ms" if found.tpot.count else "none"
    figures_ = (
        ("Within the limits", f"{found.goodput_per_s:,.2f}/s",
         f"goodput, of {found.requests_per_s:,.2f} served"),
        ("TTFT p95", f"{found.ttft.quantile(0.95):,.2f} s", "waiting and prompt"),
        ("TPOT p95", tpot, "per token after the first"),
        ("Running", f"{found.mean_running:,.1f}", f"at most {recorder.most_running} a replica"),
        ("Queue", f"{found.mean_queue:,.1f}", "waiting on average"),
        ("Blocks in use", format_share(found.block_use, 1),
         f"{format_share(found.fragmentation, 1)} of slots empty"),
        ("Preemptions", f"{recorder.preemptions:,}",
         f"{counted(recorder.computed_again_tokens, 'token')} again"),
        ("Prefix hits", format_share(found.found_share, 1), "of prompt tokens"),
    )  # fmt: skip
    st.html(
        '<dl class="sz-kpis">'
        + "".join(
            f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(more)}</small></dd></div>"
            for name, value, more in figures_
        )
        + "</dl>"
    )
    if work.note:
        st.caption(as_sentence(work.note))
    quantiles = (0.5, 0.9, 0.95, 0.99)
    rows = [
        (name, f"{h.mean * scale:,.2f}", *(f"{h.quantile(q) * scale:,.2f}" for q in quantiles))
        for name, h, scale in (
            ("TTFT (s)", found.ttft, 1.0),
            ("TPOT (ms)", found.tpot, 1e3),
            ("E2E (s)", found.e2e, 1.0),
        )
        if h.count
    ]  # fmt: skip
    st.html(html_table(("Time", "Mean", "p50", "p90", "p95", "p99"), rows, numeric=range(1, 6)))


def _course(found: Result) -> None:
    st.header("Over time", anchor=False)
    rows = found.timeline_rows()
    dark = theme.dark()
    pool = found.replica.num_blocks * found.replicas
    size = found.replica.block_size
    width = found.recorder.timeline.width_s
    left, right = st.columns(2)
    charts = (
        (left, "Requests", False, [
            ("Running", [r["running"] for r in rows]), ("Queue", [r["queue"] for r in rows]),
        ]),
        (right, "Share of the pool", True, [
            ("In use", [r["used_blocks"] / pool for r in rows]),
            ("Kept for prefixes", [r["kept_blocks"] / pool for r in rows]),
        ]),
        (left, "Per second", False, [
            ("Arrivals", [r["arrivals"] / width for r in rows]),
            ("Finished", [r["finished"] / width for r in rows]),
            ("Preemptions", [r["preemptions"] / width for r in rows]),
        ]),
        (right, "Share", True, [
            ("Empty slots of used blocks", [
                max(0.0, 1 - r["stored_tokens"] / (r["used_blocks"] * size))
                if r["used_blocks"] else 0.0 for r in rows
            ]),
            ("Prompt tokens found", [
                r["found_tokens"] / r["prompt_tokens"] if r["prompt_tokens"] else 0.0 for r in rows
            ]),
        ]),
    )  # fmt: skip
    for number, (place, title, percent, lines) in enumerate(charts):
        names = " and ".join(name.lower() for name, _ in lines)
        place.plotly_chart(
            traffic_figures.over_time(rows, lines, title, percent=percent, dark=dark),
            key=f"course_{number}",
            config=figures.CONFIG,
            alt=f"{names} over time; the CSV below has the same numbers.",
        )


def _limits(chosen: Chosen, pool: Pool, one: Replica, work: Work) -> None:
    st.header("What it can promise", anchor=False)
    if work.trace is not None:
        st.caption(
            "Rates are searched, and claims tried, with drawn requests: choose one of the other "
            "workloads."
        )
        return
    asked = (chosen, pool, work)
    with st.container(horizontal=True):
        rate = st.button(
            "Highest rate and fewest replicas", key="find_rate", icon=":material/speed:"
        )
        moves = st.button("What moves it", key="find_moves", icon=":material/tune:")
    if found := answered("rate", asked, lambda: _rate(one, work), pressed=rate):
        _show_rate(*found, work)
    if rows := answered("moves", asked, lambda: _moves(chosen, pool, work), pressed=moves):
        _show_moves(rows, work)


def _rate(one: Replica, work: Work) -> tuple[objective.Interval, int, int]:
    """The highest rate, the replicas for the asked one, and the requests of that run."""
    found = objective.rate_interval(
        one, work.traffic(count=SEARCHED), work.slo, range(work.seed, work.seed + 3),
        replicas=work.replicas, router=work.router,
    )  # fmt: skip
    # As many requests for each replica: a queue that grows needs time to be seen.
    expected = work.rate * work.replicas / found.mean if found.mean else 1
    count = SEARCHED * min(MOST_SHARED, max(1, ceil(expected)))
    needed, _ = objective.replicas_for(
        one, work.traffic(count=count), work.rate, work.slo, seed=work.seed, router=work.router
    )
    return found, needed, count


def _show_rate(found: objective.Interval, needed: int, count: int, work: Work) -> None:
    st.markdown(
        f"**{found.mean:,.2f} requests per second** hold the SLO on "
        f"{counted(work.replicas, 'replica')} (95 % interval {found.low:,.2f} to "
        f"{found.high:,.2f}, {found.samples} seeds of {SEARCHED} requests)."
    )
    st.markdown(
        f"**{counted(needed, 'replica')}** needed for {work.rate:g} requests per second, in a run "
        f"of {count:,} requests."
    )


def _moves(chosen: Chosen, pool: Pool, work: Work) -> list[Moved]:
    return list(
        sensitivity(
            lambda d: pool.moved(chosen, d), chosen.deployment,
            lambda shared: work.traffic(shared, COMPARED), work.slo, work.rate,
        )
    )  # fmt: skip


def _show_moves(found: list[Moved], work: Work) -> None:
    rows = [
        (m.change, m.value, f"{m.rate:,.2f}" if m.rate else m.refused,
         f"{m.replicas:,}" if m.replicas else "", *m.times)
        for m in found
    ]  # fmt: skip
    at = f"one replica at {work.rate:g}/s"
    head = ("Change", "To", "Highest rate of one replica (/s)", f"Replicas for {work.rate:g}/s",
            f"TTFT p95, {at}", f"TPOT p95, {at}")  # fmt: skip
    st.html(html_table(head, rows, numeric=(2, 3, 4, 5), stack=True))
    st.caption(
        f"Each rate is from runs of {COMPARED} requests, to within 5 %: coarser than 'Highest rate "
        "and fewest replicas', and replicas are the asked rate divided by it."
    )


def _claims(chosen: Chosen, pool: Pool, one: Replica, work: Work) -> None:
    st.header("Claims, tried on this replica", anchor=False)
    with st.container(horizontal=True):
        pressed = {name: st.button(name, key=f"claim_{i}") for i, name in enumerate(CLAIMS)}
    for name, run in CLAIMS.items():
        found = answered(
            name, (chosen, pool, work), partial(run, one, work.prompt, work.output),
            pressed=pressed[name],
        )  # fmt: skip
        if found:
            _outcome(found)


def _outcome(outcome: Outcome) -> None:
    st.markdown(f"Claim: {as_sentence(outcome.claim)} *({as_sentence(outcome.source)[:-1]})*")
    st.markdown(f"**Here: {as_sentence(outcome.found)}** {as_sentence(outcome.why)}")
    st.html(html_table(outcome.head, outcome.rows, numeric=range(1, len(outcome.head)), stack=True))
