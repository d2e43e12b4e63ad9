"""A refusal as a person sees it: one sentence, the inputs untouched."""

import streamlit as st

from planner.errors import SizewellError
from ui.model_source import NothingYet


def show(error: SizewellError) -> None:
    """The sentence, and that nothing was lost."""
    from ui import gpu_counts, inputs  # they need `as_sentence` themselves

    chosen = st.session_state.get(inputs.OUTCOME)
    if isinstance(chosen, inputs.Chosen) and gpu_counts.show(chosen, error):
        return
    text = as_sentence(str(error))
    if isinstance(error, NothingYet):
        st.info(text, icon=":material/edit:")
    else:
        st.error(f"No plan: {text} Your inputs are kept.", icon=":material/error:")


def as_sentence(text: str) -> str:
    """One line that ends with a stop; what looks like Markdown in it stays text."""
    line = " ".join(text.split())
    for mark in "\\`*_[]<>$#|~":
        line = line.replace(mark, f"\\{mark}")
    return line if line.endswith((".", "!", "?")) else f"{line}."
