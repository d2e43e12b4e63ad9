"""The depth of a plan, one click away; only the open table is built."""

import streamlit as st

from planner.errors import SizewellError
from planner.plan import Plan
from ui import plan_tables as tables
from ui.sentence import as_sentence

TABS = {
    "Derivation": tables.derivation_html,
    "Assumptions": tables.assumptions_html,
    "Model": tables.model_html,
    "Cache and attention": tables.cache_html,
    "Cost of length": tables.lengths_html,
    "Inputs": tables.inputs_html,
}


def show(plan: Plan) -> None:
    """Names of the tables, closed at first: opened, they are longer than all above."""
    st.header("How this was worked out", anchor=False)
    opened = st.pills(
        "How this was worked out", list(TABS), key="show", label_visibility="collapsed",
        bind="query-params",
    )  # fmt: skip
    if opened is None:
        return
    try:
        st.html(TABS[opened](plan))
    except SizewellError as error:
        st.info(as_sentence(str(error)), icon=":material/info:")
