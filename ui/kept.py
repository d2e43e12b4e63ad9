"""Up to four plans that stand side by side on the Compare page: held by the session and the link.

A plan's own link is 'model=qwen3-8b,gpu=l40s,users=2': model, GPU and what is no default. One
that no link can name, of a pasted configuration, stays in the session alone.
"""

from typing import Any

import streamlit as st
from pydantic import ValidationError

from planner.errors import SizewellError
from planner.export import as_data
from planner.plan import Plan, make_plan
from planner.units import format_tokens
from ui.model_source import from_preset, preset_of
from ui.saved import DEFAULTS, deployment_of, gpu_of, gpu_values, values_of, workload_of

MOST = 4
ALWAYS = ("model", "gpu")
PLANS = "kept_plans"
LINKS = "kept"
"""In the session and in the link."""


def plans() -> list[Plan]:
    """The plans kept so far, oldest first."""
    found: list[Plan] = st.session_state.setdefault(PLANS, [])
    return found


def keep(plan: Plan) -> None:
    """Add a plan; the oldest makes room."""
    _hold([p for p in plans() if p != plan] + [plan])


def forget() -> None:
    """Empty the list."""
    _hold([])


def _hold(found: list[Plan]) -> None:
    st.session_state[PLANS] = found[-MOST:]
    links = [link_of(plan) for plan in found[-MOST:]]
    st.session_state[LINKS] = [link for link in links if link is not None]


def follow_link() -> None:
    """Take the plans of the link when a session begins, and have them in the link from then on."""
    if LINKS not in st.session_state:
        asked = {link: plan_of(link) for link in st.query_params.get_all(LINKS)[:MOST]}
        st.session_state[PLANS] = [plan for plan in asked.values() if plan is not None]
        st.session_state[LINKS] = [link for link, plan in asked.items() if plan is not None]
    links = st.session_state[LINKS]
    if links:
        if st.query_params.get_all(LINKS) != links:
            st.query_params[LINKS] = links
    elif LINKS in st.query_params:
        del st.query_params[LINKS]


def link_of(plan: Plan) -> str | None:
    """The plan's inputs for a link; None where they would not give this very plan again."""
    model = preset_of(plan.model.source, None)
    if model is None:
        return None
    try:
        inputs = values_of(plan.deployment, plan.workload)
        values = {"model": model, **gpu_values(as_data(plan)["gpu"]), **inputs}
    except SizewellError:
        return None
    link = ",".join(f"{k}={v}" for k, v in values.items() if v != DEFAULTS[k] or k in ALWAYS)
    return link if plan_of(link) == plan else None


def plan_of(link: str) -> Plan | None:
    """The plan of such a link; None where it says nothing that can be planned."""
    try:
        values = {**DEFAULTS, **dict(_value(pair) for pair in link.split(",") if pair)}
        return make_plan(
            from_preset(values["model"]).model,
            gpu_of(values),
            deployment_of(values),
            workload_of(values),
        )
    except (KeyError, ValueError, ValidationError, SizewellError):
        return None


def _value(pair: str) -> tuple[str, Any]:
    """'gpus=2' as the input's name and its value. Raises KeyError and ValueError."""
    name, _, text = pair.partition("=")
    usual = DEFAULTS[name]
    if isinstance(usual, bool):
        return name, {"True": True, "False": False}[text]
    return name, text if isinstance(usual, str) else int(text)


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


def until() -> str:
    """How long they are kept."""
    stay = "They are in the link, so that a reload or a bookmark brings them back."
    if len(plans()) == len(st.session_state.get(LINKS, [])):
        return stay
    return (
        f"{stay} Not so a plan whose inputs no link can hold, such as a pasted configuration: save "
        "it as JSON (Download report on the Plan page), to open it again."
    )


def button(plan: Plan) -> None:
    """Keep this plan, with how many there are."""
    n = len(plans())
    st.button(
        "Keep for comparison" if n == 0 else f"Keep for comparison ({n} of {MOST} kept)",
        key="keep",
        on_click=keep,
        args=(plan,),
        icon=":material/bookmark_add:",
        help="Kept plans stand side by side on the Compare page, and the link has them.",
    )
