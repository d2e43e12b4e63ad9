"""A refusal as a person sees it: one sentence, the inputs untouched."""

import streamlit as st

from planner.errors import SizewellError
from ui import gpu_counts, inputs
from ui.model_source import NothingYet
from ui.sentence import as_sentence


def show(error: SizewellError, *, serving: bool = True) -> None:
    """The sentence, and that nothing was lost. serving: whether the sidebar's split is refused."""
    chosen = st.session_state.get(inputs.OUTCOME)
    if serving and isinstance(chosen, inputs.Chosen) and gpu_counts.show(chosen, error):
        return
    if isinstance(error, NothingYet):
        st.info(as_sentence(str(error)), icon=":material/edit:")
    else:
        text = as_sentence(f"No plan: {error}")
        st.error(f"{text} Your inputs are kept.", icon=":material/error:")
