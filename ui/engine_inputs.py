"""Which engine, which version, with which flags: at the head of the Engine page.

What was chosen there is kept for the session, so that other pages' reports say the same.
"""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from planner.engines.engine import EngineFigures
from planner.engines.registry import ENGINES, options_of
from planner.engines.room import with_room
from planner.frozen import Frozen
from planner.model import Model
from ui import engine_draft
from ui.bound import KEPT, by_id
from ui.engine_options import FLAGS, Flag, value_of
from ui.inputs import ENGINE_CHOSEN as CHOSEN
from ui.inputs import Chosen
from ui.model_source import name_in_command
from ui.whole import tokens, whole

EAGER = {
    "vllm": "enforce_eager",
    "sglang": "disable_cuda_graph",
    "tensorrt-llm": "disable_cuda_graph",
}


@dataclass(frozen=True)
class EngineChoice:
    """The engine's name, its options, the model that drafts, and how many drafts are accepted."""

    name: str
    options: Frozen
    draft: Model | None = None
    acceptance: float | None = None

    def figures(self, chosen: Chosen, **changes: Any) -> EngineFigures:
        """What the engine does with the plan on the left."""
        options = self.options if not changes else self.options.model_copy(update=changes)
        figures = ENGINES[self.name].figures
        return with_room(
            self.name, options, chosen.deployment, chosen.workload, chosen.model, chosen.gpu,
            lambda changed, spread: figures(
                chosen.model, chosen.gpu, spread, changed, chosen.workload,
                config=chosen.config, draft=self.draft, name=name_in_command(chosen.model.source),
            ),
        )  # fmt: skip


def choose(chosen: Chosen) -> EngineChoice:
    """Draw the inputs. Raises SizewellError for values that the engine refuses as flags."""
    left, right, rest = st.columns((2, 2, 3), vertical_alignment="bottom")
    by_id("engine", {name: one.label for name, one in ENGINES.items()})
    name = left.selectbox(
        "Engine", list(ENGINES), format_func=lambda n: ENGINES[n].label, key="engine", **KEPT
    )
    name = name or "vllm"
    version = right.selectbox(
        "Version", ENGINES[name].versions, key=f"version_{name}", accept_new_options=name == "vllm",
        help="vLLM: any version from 0.6 may be typed.", **KEPT,
    )  # fmt: skip
    with rest.popover("Flags of the engine", icon=":material/tune:"):
        values = _flags(name)
    st.session_state[CHOSEN] = None
    draft = engine_draft.choose(name, chosen.model)
    kept = (name, {**values, **draft.values, "version": version}, draft.model,
            draft.acceptance)  # fmt: skip
    st.session_state[CHOSEN] = kept
    return _choice(chosen, *kept)


def figures_kept(chosen: Chosen) -> EngineFigures | None:
    """What the engine last chosen on its page does with the plan on the left; None without one.

    Raises SizewellError where it takes no such plan.
    """
    kept = st.session_state.get(CHOSEN)
    return None if kept is None else _choice(chosen, *kept).figures(chosen)


def _choice(
    chosen: Chosen, name: str, values: dict[str, Any], draft: Model | None, acceptance: float | None
) -> EngineChoice:
    eager = EAGER.get(name)
    if eager is not None and chosen.deployment.enforce_eager:
        values = {**values, eager: True}
    return EngineChoice(name, options_of(name, values), draft, acceptance)


def _flags(name: str) -> dict[str, Any]:
    st.caption("Empty fields leave the engine's own choice.")
    found = {}
    columns = st.columns(2)
    for number, flag in enumerate(FLAGS[name]):
        with columns[number % 2]:
            value = value_of(_widget(name, flag))
        if value is not None:
            found[flag.field] = value
    return found


def _widget(name: str, flag: Flag) -> Any:
    key = f"{name}_{flag.field}"
    if flag.values:
        return st.selectbox(flag.field, flag.values, key=key, help=flag.help, **KEPT)
    if flag.fraction:
        return st.number_input(
            flag.field, min_value=float(flag.least), max_value=float(flag.most), value=None,
            step=0.01, format="%.3f", key=key, help=flag.help, placeholder="default", **KEPT,
        )  # fmt: skip
    box = tokens if flag.tokens else whole
    return box(
        flag.field, key, int(flag.least), int(flag.most), None,
        help=flag.help, placeholder="default", **KEPT,
    )  # fmt: skip
