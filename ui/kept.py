"""Up to four plans kept in the session, to stand side by side on the Compare page."""

import streamlit as st

from planner.plan import Plan

MOST = 4
KEY = "kept_plans"


def plans() -> list[Plan]:
    """The plans kept so far, oldest first."""
    found: list[Plan] = st.session_state.setdefault(KEY, [])
    return found


def keep(plan: Plan) -> None:
    """Add a plan; the oldest makes room."""
    found = [p for p in plans() if p != plan]
    st.session_state[KEY] = [*found, plan][-MOST:]


def forget() -> None:
    """Empty the list."""
    st.session_state[KEY] = []


def button(plan: Plan) -> None:
    """Keep this plan, with how many there are."""
    n = len(plans())
    st.button(
        "Keep for comparison" if n == 0 else f"Keep for comparison ({n} of {MOST} kept)",
        key="keep",
        on_click=keep,
        args=(plan,),
        icon=":material/bookmark_add:",
        help="Kept plans stand side by side on the Compare page until this browser tab is closed.",
    )
