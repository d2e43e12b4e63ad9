"""Up to four plans kept in the session, to stand side by side on the Compare page."""

import streamlit as st

from planner.plan import Plan
from planner.units import format_tokens

MOST = 4
KEY = "kept_plans"
UNTIL = (
    "Reloading the page or opening a link in this tab forgets them: a plan saved as JSON "
    "(Download report on the Plan page) can be opened again."
)


def plans() -> list[Plan]:
    """The plans kept so far, oldest first."""
    found: list[Plan] = st.session_state.setdefault(KEY, [])
    return found


def keep(plan: Plan) -> None:
    """Add a plan; the oldest makes room."""
    found = [p for p in plans() if p != plan]
    st.session_state[KEY] = [*found, plan][-MOST:]


def names(plans: list[Plan]) -> list[str]:
    """'1. Llama-3.1-8B on 1 × L40S, 12 × 32,768', and the formats where they differ."""
    weights = [plan.deployment.weights_dtype for plan in plans]
    caches = [plan.footprint.kv_format.name for plan in plans]
    found = []
    for n, (plan, weight, cache) in enumerate(zip(plans, weights, caches, strict=True), 1):
        work = plan.workload
        name = (
            f"{n}. {plan.model.source.rpartition('/')[2]} on "
            f"{format_tokens(plan.deployment.gpus)} × {plan.gpu.name}, "
            f"{format_tokens(work.concurrency)} × {format_tokens(work.context)}"
        )
        name += f", weights {weight}" if len(set(weights)) > 1 else ""
        name += f", KV {cache}" if len(set(caches)) > 1 else ""
        found.append(name)
    return found


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
        help=f"Kept plans stand side by side on the Compare page. {UNTIL}",
    )
