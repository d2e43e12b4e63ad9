"""The depth of a plan, one click away; only the open table is built."""

import streamlit as st

from planner.plan import Plan
from ui import plan_tables as tables

TABS = {
    "Derivation": tables.derivation_html,
    "Assumptions": tables.assumptions_html,
    "Model": tables.model_html,
    "Cache and attention": tables.cache_html,
    "Inputs": tables.inputs_html,
}


def show(plan: Plan) -> None:
    """Names of the tables, closed at first: opened, they are longer than all above."""
    st.header("How this was worked out", anchor=False)
    opened = st.pills(
        "How this was worked out", list(TABS), key="show", label_visibility="collapsed",
        bind="query-params",
    )  # fmt: skip
    if opened is not None:
        st.html(TABS[opened](plan))
