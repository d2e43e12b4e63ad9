"""Answers that take a press of a button: they stay on the page until an input changes."""

from collections.abc import Callable
from typing import TypeVar

import streamlit as st

from planner.errors import SizewellError
from ui import refusal

ANSWERS = "answers"
"""In the session: the inputs, and what questions about them came to."""
T = TypeVar("T")


def answered(question: str, inputs: object, answer: Callable[[], T], *, pressed: bool) -> T | None:
    """What `answer` found when it was last asked of equal inputs; None where it was not.

    pressed: ask now. A refusal is shown once and not kept.
    """
    before, answers = st.session_state.get(ANSWERS, (None, {}))
    if before != inputs:
        answers = {}
    if pressed:
        answers.pop(question, None)
        try:
            with st.spinner("Simulating"):
                answers[question] = answer()
        except SizewellError as error:
            refusal.show(error)
    st.session_state[ANSWERS] = (inputs, answers)
    found: T | None = answers.get(question)
    return found
