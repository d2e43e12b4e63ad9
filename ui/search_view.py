"""The answer of a search: what is cheapest, what nothing beats, and why the others lost."""

from collections.abc import Sequence

import streamlit as st

from planner.admission.rules import label_of
from planner.guide import guide
from planner.model import Model
from planner.search.candidates import Candidate, Found
from planner.search.data import as_csv, row
from planner.search.engine import commands
from planner.search.report import (
    AT_ONCE,
    dearer,
    efficiencies,
    headline,
    name,
    next_quality,
    prices,
    queues,
    shared_formats,
    tpot,
    ttft,
    users,
    why,
    without_candidates,
)
from planner.search.space import Target
from planner.timing.latency import SERVER
from planner.units import format_bytes
from presets.speed import reference, speed_of
from ui import elsewhere, search_run
from ui.downloads import file_name
from ui.inputs import Chosen
from ui.model_source import name_in_command
from ui.search_inputs import Asked
from ui.sentence import as_sentence
from ui.tables import html_table

SHOWN = 12
BY_RATE = (
    "For requests per second instead of users: Traffic finds the rate that a deployment holds, and "
    "the replicas that a rate needs."
)
COLUMNS = ("Deployment", "$ / hour", "TTFT p95", "TPOT", "Users", "Left in budget", "$ / M out")
NUMERIC = tuple(range(1, len(COLUMNS)))


def show(chosen: Chosen, asked: Asked) -> None:
    """Search and draw what was found."""
    model, found = chosen.model, search_run.found(chosen, asked)
    target = found.target
    if found.winners:
        st.success(as_sentence(headline(found)), icon=":material/check_circle:")
    else:
        st.warning(as_sentence(headline(found)), icon=":material/search_off:")
    if found.note:
        st.warning(as_sentence(found.note), icon=":material/warning:")
    if found.winners:
        _start(chosen, found.winners[0], target)
    left = (*found.unsupported, *without_candidates(found, asked.space.engines))
    if left:
        with st.expander(f"Not tried ({len(left)})"):
            st.markdown("\n".join(f"- {as_sentence(reason)}" for reason in left))
    st.caption(
        as_sentence(
            f"{found.points:,} points tried. Prices are dated list prices and times are "
            f"estimates: {reference().source}"
        )
        + f" {SERVER}"
        + (f" {AT_ONCE}" if queues(target) else "")
    )
    elsewhere.lead("traffic", BY_RATE)
    if found.winners:
        _winners(found)
        with st.expander("What to choose for it, and the figure that decides"):
            _guide(model, found.winners[0], target)
    losers = found.nearest_losers
    if losers:
        st.subheader("Why the others lost", anchor=False)
        st.html(
            html_table(
                ("Nearest try of each GPU", "What it misses first"),
                [(name(c), why(c, target)) for c in losers],
                stack=True,
            )
        )
    _prices(found, asked)
    st.download_button(
        "Every candidate (CSV)", lambda: as_csv(found),
        file_name=f"{file_name(model, what='search')}.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore",
    )  # fmt: skip


def _start(chosen: Chosen, best: Candidate, target: Target) -> None:
    """The command of the cheapest one's engine."""
    name = name_in_command(chosen.model.source)
    for what, command in commands(best, target, chosen.model, config=chosen.config, name=name):
        st.caption(f"Start it with {label_of(best.engine)}" + (f" for {what}" if what else ""))
        st.code(command, language="bash", wrap_lines=True)


def _winners(found: Found) -> None:
    st.subheader("Nothing beats these in cost, speed and headroom at once", anchor=False)
    listed = (*found.frontier[:SHOWN], *found.quality_steps, *found.engine_steps)
    alike = shared_formats(listed)
    if alike:
        st.caption(f"All with {alike}.")
    st.html(_table(found.frontier[:SHOWN], found.target, alike))
    st.caption(
        "Own: the format that the model is published in. Users: the most that were tried and "
        "kept within the limits. Tight: the range of a time crosses its limit. Left in budget: of "
        "the share of the card that the engine allows itself, on the fullest GPU."
    )
    others = found.dearer(listed)
    if others:
        st.subheader("Also met, on other GPUs", anchor=False)
        rows = [
            (name(c, with_formats=alike is None), dearer(c, best, found.target))
            for c, best in others
        ]
        st.html(html_table(("Cheapest of each GPU", "Against the cheapest"), rows, stack=True))
    better = next_quality(found)
    if better:
        st.markdown(as_sentence(better))
    if len(found.engine_steps) > 1:
        st.subheader("Cheapest by engine", anchor=False)
        st.html(_table(found.engine_steps, found.target, alike))
        st.caption("Times are those of the same kernels; memory is by each engine's own rule.")
    if len(found.quality_steps) > 1:
        st.subheader("Cheapest by format of weights and cache", anchor=False)
        st.html(_table(found.quality_steps, found.target, alike))


def _prices(found: Found, asked: Asked) -> None:
    """Where the prices come from, and which GPUs have none."""
    with st.expander("Prices and efficiencies, and GPUs without a price"):
        shown = (*found.frontier[:SHOWN], *found.quality_steps, *found.nearest_losers)
        st.html(html_table(("Price",), [(line,) for line in prices(shown)]))
        measured = efficiencies(shown, speed_of)
        if measured:
            st.html(html_table(("Efficiency",), [(line,) for line in measured]))
        if asked.unpriced:
            st.markdown(
                as_sentence(f"Left out for want of a price: {', '.join(asked.unpriced)}")
                + " Give your own above, or allow marketplace prices."
            )


def _table(candidates: Sequence[Candidate], target: Target, alike: str | None) -> str:
    rows = [_cells(c, target, with_formats=alike is None) for c in candidates]
    return html_table(COLUMNS, rows, numeric=NUMERIC, stack=True)


def _cells(candidate: Candidate, target: Target, *, with_formats: bool) -> tuple[str, ...]:
    figures = row(candidate, target)
    return (
        name(candidate, with_formats=with_formats, with_batch=True),
        f"{candidate.usd_per_hour:.2f}",
        ttft(candidate, target),
        tpot(candidate, target),
        users(candidate).removesuffix(" users").removesuffix(" user"),
        format_bytes(candidate.headroom_bytes),
        f"{figures['usd_per_million_output_tokens']:.2f}",
    )


def _guide(model: Model, best: Candidate, target: Target) -> None:
    gpu = best.offer.gpu
    found = guide(model, gpu, best.deployment, speed_of(gpu), target.request, target.concurrency)
    rows = [(d.topic.capitalize(), d.choice, d.because) for d in found]
    st.html(html_table(("Question", "Choice", "Because"), rows, stack=True))
