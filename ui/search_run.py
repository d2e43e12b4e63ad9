"""The search of the page: its progress is shown, leaving ends it, and its answer is kept."""

from collections.abc import Iterator, Sequence

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from planner.deployment import Deployment
from planner.search.candidates import Found
from planner.search.search import checked, merged, search_part
from planner.search.space import deployments
from presets.speed import speed_of
from ui.inputs import Chosen
from ui.search_inputs import Asked

KEPT = "search_found"
STEPS = 100
"""Of the progress shown: a step is also where a click elsewhere is heard."""


def found(chosen: Chosen, asked: Asked) -> Found:
    """planner.search.search() of what is asked; the last answer, where nothing else is."""
    wanted = (chosen.model, chosen.config, asked)
    kept: tuple[object, Found] | None = st.session_state.get(KEPT)
    if kept is None or kept[0] != wanted:
        kept = wanted, _search(chosen, asked)
        st.session_state[KEPT] = kept
    return kept[1]


def _search(chosen: Chosen, asked: Asked) -> Found:
    model, space = chosen.model, asked.space
    note = checked(model, asked.offers, asked.target)
    every = list(deployments(model, space))
    shown = st.empty()
    part = search_part(
        model, asked.offers, speed_of, asked.target, space, _told(every, shown),
        config=chosen.config,
    )  # fmt: skip
    shown.empty()
    return merged([part], note, model=model, space=space)


def _told(every: Sequence[Deployment], shown: DeltaGenerator) -> Iterator[Deployment]:
    """The same deployments, with how many of them were tried so far."""
    step = max(1, len(every) // STEPS)
    for number, deployment in enumerate(every):
        if number % step == 0:
            shown.progress(number / len(every), f"{number:,} of {len(every):,} layouts tried")
        yield deployment
