"""Find hardware: the cheapest GPUs that serve the chosen model at a load and speed."""

import streamlit as st

from planner.errors import SizewellError
from ui import inputs, refusal, search_inputs, search_view

st.title("Find hardware", anchor=False)
try:
    chosen = inputs.chosen()
    search_view.show(chosen, search_inputs.choose(chosen))
except SizewellError as error:
    refusal.show(error)
