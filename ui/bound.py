"""Where a widget keeps its value: in the link, and for the session where it leaves the page.

A widget bound to the link puts there what it shows. One that shows ids under longer names is not
bound: `from_link` before it and `to_link` after it keep its ids there.
"""

from collections.abc import Collection, Mapping
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


def from_link(
    key: str, options: Collection[str], default: str | list[str], most: int | None = None
) -> None:
    """Call before an unbound box of ids, or of several, `most` at most: the link's, or else the
    default.
    """
    if key in st.session_state:
        return
    asked = [name for name in st.query_params.get_all(key) if name in options][:most]
    if isinstance(default, list):
        st.session_state[key] = asked if key in st.query_params else list(default)
    else:
        st.session_state[key] = asked[0] if asked else default


def to_link(key: str, default: str | list[str]) -> None:
    """Call after it: the ids stand in the link where they are not the default."""
    value = st.session_state[key]
    ids = (list(value) or [""]) if isinstance(value, list) else [value]
    if value == default:
        st.query_params.pop(key, None)
    elif st.query_params.get_all(key) != ids:
        st.query_params[key] = ids
