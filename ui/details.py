"""The depth of a plan, one click away; only the open tab is built."""

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
    """Tabs with tables."""
    st.header("How this was worked out", anchor=False)
    opened = st.tabs(list(TABS), key="show", on_change="rerun")
    for tab, body in zip(opened, TABS.values(), strict=True):
        with tab:
            if tab.open:
                st.html(body(plan))
