"""The Explain page: ten topics, of which only the chosen one is computed and drawn."""

from collections.abc import Callable

import streamlit as st

from planner.errors import SizewellError
from planner.plan import Plan
from ui.explain import (
    cache,
    drafting,
    flash,
    heads,
    paging,
    parallel,
    positions,
    quoted,
    softmax,
    tiles,
)
from ui.sentence import as_sentence

TOPICS: dict[str, Callable[[Plan], None]] = {
    "KV cache": cache.show,
    "Online softmax": softmax.show,
    "Tiling": tiles.show,
    "Heads": heads.show,
    "Positions": positions.show,
    "Paging": paging.show,
    "Parallelism": parallel.show,
    "Drafting": drafting.show,
    "Flash 1 to 4": flash.show,
    "Quoted numbers": lambda _: quoted.show(),
}


def show(plan: Plan) -> None:
    """The chosen topic for `plan`."""
    st.title("Explain", anchor=False)
    topic = st.segmented_control(
        "Topic", tuple(TOPICS), default="KV cache", key="topic", required=True, bind="query-params"
    )
    st.caption(
        as_sentence(f"Computed for {plan.model.source} on {plan.gpu.name}, chosen in the sidebar")
    )
    try:
        TOPICS[topic](plan)
    except SizewellError as error:
        st.info(as_sentence(str(error)), icon=":material/info:")
