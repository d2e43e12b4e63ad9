"""Speculative decoding on the Engine page: how tokens are drafted, how many, and by which model."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import streamlit as st

from planner.engines.drafter import HEADS, drafter, self_drafting
from planner.engines.vllm.options import DRAFTLESS
from planner.errors import PlanRefused, SizewellError
from planner.hf_config.document import read_document
from planner.model import Model
from planner.parameters import count
from planner.timing.speculation import ACCEPTANCE, ASSUMED
from planner.units import counted
from presets.heads import head_config, head_ids
from presets.models import served_name
from ui import options, whole
from ui.bound import KEPT
from ui.hub import fetch_from_hub
from ui.model_source import NothingYet, from_preset
from ui.uploads import MAX_UPLOAD_MIB, text_of

OFF = "Off"
METHODS = {
    "n-gram": "ngram", "MTP": "mtp", "EAGLE": "eagle", "EAGLE3": "eagle3", "DFlash": "dflash",
    "Medusa": "medusa", "Draft model": "draft_model",
}  # fmt: skip
"""The choice as it stands in the link -> vLLM's method."""
SGLANG = {
    "ngram": "NGRAM", "mtp": "NEXTN", "eagle": "EAGLE", "eagle3": "EAGLE3",
    "draft_model": "STANDALONE",
}  # fmt: skip
"""How SGLang calls them; it has no DFlash and no Medusa."""
HEAD_ONLY = (*HEADS, "medusa")
HELP = (
    "Tokens are drafted cheaply and checked in one pass; the draft's weights and cache come out of "
    "the same memory. n-gram: copied from the prompt. MTP: the model's own extra layers. EAGLE, "
    "EAGLE3, DFlash: a head on the model's states. Medusa: a head for each token. Draft model: a "
    "smaller model."
)
UNNAMED = "/path/to/draft"


@dataclass(frozen=True)
class Draft:
    """values: the engine's options that say it; model: what is loaded beside the target;
    acceptance: of each draft token, None where it is left to be assumed."""

    values: dict[str, Any] = field(default_factory=dict)
    model: Model | None = None
    acceptance: float | None = None


def choose(engine: str, target: Model) -> Draft:
    """Draw the inputs, with MTP only where `target` has such layers.

    Raises NothingYet while the draft model is missing, or why it is refused.
    """
    if engine not in ("vllm", "sglang"):
        return Draft()
    known = {
        name: method
        for name, method in METHODS.items()
        if (engine == "vllm" or method in SGLANG) and (method != "mtp" or self_drafting(target).mtp)
    }
    if st.session_state.get("spec") not in (None, OFF, *known):
        st.session_state["spec"] = OFF
    left, middle, other, right = st.columns((2, 2, 2, 3), vertical_alignment="top")
    chosen = left.selectbox("Speculative decoding", (OFF, *known), key="spec", help=HELP, **KEPT)
    if chosen in (None, OFF):
        return Draft()
    method = known[chosen]
    with middle:
        tokens = whole.count("Draft tokens a step", "spec_tokens", 1, 64, 3, **KEPT)
    acceptance = other.number_input(
        "Acceptance", 0.0, 1.0, None, 0.05, key="acceptance", placeholder=f"{ACCEPTANCE:g}",
        help=f"Of each draft token. Left empty, the {ASSUMED}.", **KEPT,
    )  # fmt: skip
    if method in DRAFTLESS:
        return Draft(_values(engine, method, tokens, None), None, acceptance)
    with right:
        name, model = _model(method, tokens, target)
    st.caption(
        f"Draft: {count(model).total / 1e9:,.2f} B parameters with its embedding, "
        f"{counted(model.num_hidden_layers, 'layer')}."
    )
    return Draft(_values(engine, method, tokens, name), model, acceptance)


def _values(engine: str, method: str, tokens: int, name: str | None) -> dict[str, Any]:
    if engine == "vllm":
        spoken = {"method": method, "num_speculative_tokens": tokens, "model": name}
        return {"speculative_config": {k: v for k, v in spoken.items() if v is not None}}
    found = {
        "speculative_algorithm": SGLANG[method],
        "speculative_num_draft_tokens": tokens,
        "speculative_draft_model_path": name,
    }
    return {k: v for k, v in found.items() if v is not None}


def _model(method: str, tokens: int, target: Model) -> tuple[str, Model]:
    """The draft's name in the command, and the draft."""
    heads = head_ids(method, (target.hidden_size, target.vocab_size))
    sources = ("Preset", "config.json", "Hub")[bool(method in HEAD_ONLY and not heads) :]
    if st.session_state.get("draft_from") not in (None, *sources):
        st.session_state["draft_from"] = sources[0]
    source = st.segmented_control(
        "Draft from", sources, default=sources[0], key="draft_from", required=True, **KEPT
    )
    if source == "Preset" and heads:
        return _head(heads, method, tokens)
    if source == "Preset":
        chosen = st.selectbox(
            "Draft model", tuple(options.model_names()), index=None, key="draft",
            placeholder="Type to search", help="One with the model's own vocabulary.", **KEPT,
        )  # fmt: skip
        if chosen is None:
            raise NothingYet("Choose the draft model: a small one with the same vocabulary.")
        model = from_preset(chosen).model
        return served_name(model.source), model
    if source == "Hub":
        return _from_hub(method, tokens)
    example = "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B" if method in HEAD_ONLY else "organisation/name"
    name = st.text_input(
        "Name of the draft in the command", key="draft_name", max_chars=200,
        placeholder=example, **KEPT,
    ).strip()  # fmt: skip
    st.file_uploader(
        "Open the draft's config.json", key="draft_file", on_change=_read_draft_file,
        max_upload_size=MAX_UPLOAD_MIB,
    )  # fmt: skip
    text = st.text_area(
        "or paste it", key="draft_config", height=120, persist_state="session",
        on_change=_forget_complaint,
        placeholder='{"model_type": "llama", "num_hidden_layers": 1, ...}',
    )  # fmt: skip
    if complaint := st.session_state.get("draft_complaint"):
        raise PlanRefused(complaint)
    if not (text or "").strip():
        raise NothingYet("Open or paste the config.json of the draft to plan with it.")
    return name or UNNAMED, _read(text, name or "Pasted draft", method, tokens)


def _head(heads: tuple[str, ...], method: str, tokens: int) -> tuple[str, Model]:
    """A published head; the first where none is chosen."""
    if st.session_state.get("draft_head") not in (None, *heads):
        st.session_state["draft_head"] = heads[0]
    chosen = st.selectbox(
        "Head", heads, key="draft_head", help="Known ones for models of this width and vocabulary.",
        **KEPT,
    )  # fmt: skip
    return chosen, drafter(head_config(chosen) or {}, chosen, method, tokens)


def _forget_complaint() -> None:
    st.session_state["draft_complaint"] = None


def _read_draft_file() -> None:
    file = st.session_state["draft_file"]
    st.session_state["draft_complaint"] = None
    if file is None:
        return
    try:
        st.session_state["draft_config"] = text_of(file)
    except SizewellError as error:
        st.session_state["draft_complaint"] = str(error)


def _from_hub(method: str, tokens: int) -> tuple[str, Model]:
    hub_id = st.text_input(
        "Hub id of the draft", key="draft_hub", placeholder="AngelSlim/Qwen3-8B_eagle3",
        max_chars=200, **KEPT,
    ).strip()  # fmt: skip
    pressed = st.button("Read the draft's config.json from the Hub", disabled=not hub_id)
    fetched: dict[str, str] = st.session_state.setdefault("fetched", {})
    if pressed and hub_id not in fetched:
        with st.spinner("Asking huggingface.co"):
            fetched[hub_id] = fetch_from_hub(hub_id)
    if not hub_id:
        raise NothingYet("Give the draft's Hub id. Nothing is read before you press the button.")
    if hub_id not in fetched:
        raise NothingYet(f"Press the button to read the configuration of {hub_id} from the Hub.")
    return hub_id, _read(fetched[hub_id], hub_id, method, tokens)


@lru_cache(maxsize=8)
def _read(text: str, source: str, method: str, tokens: int) -> Model:
    try:
        return drafter(read_document(text), source, method, tokens)
    except SizewellError as error:
        raise type(error)(f"the draft's configuration: {error}") from None
