"""Where a widget keeps its value: in the link, and for the session where it leaves the page."""

from collections.abc import Collection
from typing import Any

import streamlit as st

BOUND: dict[str, Any] = {"bind": "query-params"}
KEPT: dict[str, Any] = {**BOUND, "persist_state": "session"}


def by_id(key: str, options: Collection[str]) -> None:
    """Call before a box that shows options under other names: a link may have the option itself."""
    asked = st.query_params.get(key)
    if key not in st.session_state and asked in options:
        st.session_state[key] = asked
