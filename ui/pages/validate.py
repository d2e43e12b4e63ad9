"""Validate: prove the predictions on this machine's GPU, or look at what was measured elsewhere."""

import streamlit as st

from planner.errors import SizewellError
from ui import inputs, validation_view
from validate.suites import DEFAULT_MODEL

try:
    preset = inputs.chosen().linkable
except SizewellError:
    preset = False
validation_view.show(st.session_state.get("model", DEFAULT_MODEL) if preset else DEFAULT_MODEL)
