"""GPU counts that a model's heads allow, where the chosen one does not: a sentence and buttons."""

import re

import streamlit as st

from planner.errors import PlanRefused, SizewellError
from planner.parallelism import by_layers, check
from planner.units import counted
from ui.inputs import Chosen

TENSOR_PARALLEL = re.compile(
    r"tensor_parallel_size (\d+) (?:does not divide|neither divides) "
    r"num_(attention|key_value)_heads (\d+)"
)
FARTHEST = 64


def show(chosen: Chosen, error: SizewellError) -> bool:
    """Say it in the page's own words, with buttons; False where GPU counts are not the reason."""
    sentence = in_words(chosen, error)
    if sentence is None:
        return False
    fitting, stages = nearest(chosen), in_stages(chosen)
    ways = [f"{' or '.join(f'{n:,}' for n in fitting)} can"] if fitting else []
    ways += ["each GPU may hold whole layers instead"] if stages else []
    st.error(
        f"No plan: {'; '.join([sentence, *ways])}. Your inputs are kept.",
        icon=":material/error:",
    )
    with st.container(horizontal=True):
        if stages:
            st.button(
                f"Use {counted(stages, 'pipeline stage')}", key="gpus_stages", on_click=_deal,
                args=(stages,), icon=":material/build:",
            )  # fmt: skip
        for n in fitting:
            st.button(
                f"Use {counted(n, 'GPU')}", key=f"gpus_{n}", on_click=_use, args=(n,),
                icon=":material/build:",
            )  # fmt: skip
    return True


def in_words(chosen: Chosen, error: SizewellError) -> str | None:
    """'3 GPUs cannot share 32 attention heads', or None where `error` says something else."""
    found = TENSOR_PARALLEL.match(str(error))
    if found is None or _refusal(chosen, chosen.deployment.gpus) != str(error):
        return None
    share, kind, heads = int(found[1]), found[2].replace("_", "-"), int(found[3])
    gpus = chosen.deployment.gpus
    among = "" if share == gpus else f", {share:,} to a stage or replica,"
    return f"{gpus:,} GPUs{among} cannot share {heads:,} {kind} heads evenly"


def nearest(chosen: Chosen) -> list[int]:
    """The next smaller and the next larger number of GPUs that the heads allow."""
    deployment = chosen.deployment
    tp, rest = deployment.tensor_parallel_size, deployment.gpus // deployment.tensor_parallel_size
    below = range(tp - 1, 0, -1)
    above = range(tp + 1, tp + FARTHEST + 1)
    found = (
        next((n * rest for n in sizes if _refusal(chosen, n * rest) is None), None)
        for sizes in (below, above)
    )
    return [n for n in found if n is not None]


def _refusal(chosen: Chosen, gpus: int) -> str | None:
    deployment = chosen.deployment
    rest = deployment.gpus // deployment.tensor_parallel_size
    try:
        check(chosen.model, deployment.replace(tensor_parallel_size=gpus // rest))
    except PlanRefused as error:
        return str(error)
    return None


def in_stages(chosen: Chosen) -> int:
    """Stages in which a replica's GPUs hold whole layers; 0 where they cannot."""
    deployment = chosen.deployment
    stages = deployment.tensor_parallel_size * deployment.pipeline_parallel_size
    try:
        check(chosen.model, by_layers(deployment, stages))
    except PlanRefused:
        return 0
    return stages


def _deal(stages: int) -> None:
    st.session_state["pp"], st.session_state["dcp"] = stages, 1


def _use(gpus: int) -> None:
    st.session_state["gpus"] = gpus
