"""Where a widget keeps its value: in the link, and for the session where it leaves the page."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

BOUND: dict[str, Any] = {"bind": "query-params"}
KEPT: dict[str, Any] = {**BOUND, "persist_state": "session"}


def by_id(key: str, labels: Mapping[str, str]) -> None:
    """Call before a box that shows options under labels, which is what Streamlit reads and writes
    in the link: one that has the option itself gets its label, and the page begins again."""
    asked = st.query_params.get(key)
    if key not in st.session_state and asked is not None and labels.get(asked, asked) != asked:
        st.query_params[key] = labels[asked]
        st.rerun()
