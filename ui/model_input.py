"""Which model: a preset, a pasted or opened config.json, or a repository of the Hub."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from planner.errors import PlanRefused, SizewellError
from planner.model import NO_MIXER, Model, kind_name
from planner.parameters import count
from ui import options
from ui.bound import BOUND, from_link, to_link
from ui.hub import fetch_from_hub
from ui.model_files import HELP, MAX_HEADER_MIB, configuration_of, name_of, newest
from ui.model_source import (
    PASTED,
    ModelChoice,
    NothingYet,
    from_preset,
    from_text,
    hub_preset,
)
from ui.saved import DEFAULTS
from ui.sentence import as_sentence

SOURCES = ("Preset", "config.json", "Hub")


def choose() -> tuple[SizewellError | None, ModelChoice | None]:
    """Draw the inputs of the model; the model, or why there is none yet."""
    source = st.segmented_control(
        "Model from", SOURCES, default="Preset", key="from", required=True, **BOUND
    )
    try:
        if source == "config.json":
            choice = _from_config()
        elif source == "Hub":
            choice = _from_hub()
        else:
            names = tuple(options.model_names())
            from_link("model", names, DEFAULTS["model"])
            model_id = st.selectbox(
                "Model",
                names,
                format_func=options.model_label,
                key="model",
                help="Type to search: llama 3.1 8b, r1. A configuration that is not listed can be "
                "pasted.",
            )
            to_link("model", DEFAULTS["model"])
            choice = from_preset(model_id)
        st.caption(_facts(choice.model))
    except NothingYet as hint:
        st.caption(str(hint))
        return hint, None
    except SizewellError as error:
        return error, None
    return None, choice


def _facts(model: Model) -> str:
    total, active = count(model).total, count(model).active
    parts = [f"{total / 1e9:,.2f} B parameters"]
    if active != total:
        parts.append(f"{active / 1e9:,.2f} B active")
    parts += [_layers(kind, n) for kind, n in model.layer_counts.items()]
    return as_sentence(", ".join(parts))


def _layers(kind: str, n: int) -> str:
    if kind == NO_MIXER:
        return f"{n} layers {kind_name(kind)}"
    what = " attention" if kind in ("full", "sliding", "chunked") else ""
    return f"{n} {kind_name(kind)}{what} layers"


def _from_config() -> ModelChoice:
    st.file_uploader(
        "Open config.json or a GGUF header",
        key="config_file",
        on_change=_read_config_file,
        accept_multiple_files=True,
        max_upload_size=MAX_HEADER_MIB,
        help=HELP,
    )
    text = st.text_area(
        "or paste it",
        key="config",
        on_change=_forget_complaint,
        height=160,
        persist_state="session",
        placeholder='{"model_type": "llama", "hidden_size": 4096, ...}',
    )
    name = st.text_input(
        "Name in the command",
        key="model_name",
        max_chars=200,
        persist_state="session",
        placeholder="organisation/name or /folder",
        help="What the engine loads: a repository of the Hub, or a folder, which the deployment "
        "files then mount. Without it they have a placeholder.",
    ).strip()
    st.caption(
        "A link cannot hold this configuration: to open it again, save the plan as JSON (Download "
        "report on the Plan page) and open that file below."
    )
    if complaint := st.session_state.get("config_complaint"):
        raise PlanRefused(complaint)
    return from_text(text or "", name or PASTED)


def _forget_complaint() -> None:
    st.session_state["config_complaint"] = None


def _read_config_file() -> None:
    st.session_state["config_complaint"] = None
    files = newest(_batches(st.session_state["config_file"]))
    if not files:
        return
    try:
        st.session_state["config"] = configuration_of(files, st.session_state.get("config") or "")
        own = name_of(files)
        if own or (st.session_state.get("model_name") or "").endswith(".gguf"):
            st.session_state["model_name"] = own
    except SizewellError as error:
        st.session_state["config_complaint"] = str(error)


def _batches(files: Sequence[Any]) -> list[list[Any]]:
    """The files that are open, as they were opened together."""
    opened: list[set[str]] = st.session_state.setdefault("config_batches", [])
    opened.append({file.file_id for file in files}.difference(*opened))
    return [[file for file in files if file.file_id in batch] for batch in opened]


def _from_hub() -> ModelChoice:
    hub_id = st.text_input(
        "Hub id", key="hub", placeholder="Qwen/Qwen3-8B", max_chars=200, **BOUND
    ).strip()
    pressed = st.button("Read config.json from the Hub", disabled=not hub_id)
    fetched: dict[str, str] = st.session_state.setdefault("fetched", {})
    if pressed and hub_id not in fetched:
        with st.spinner("Asking huggingface.co"):
            fetched[hub_id] = fetch_from_hub(hub_id)
    if not hub_id:
        raise NothingYet("Give a Hub id. Nothing is read from the Hub before you press the button.")
    preset = hub_preset(hub_id)
    if hub_id not in fetched and preset is not None:
        st.caption(f"Known here as the preset {preset}; nothing was read from the Hub.")
        return from_preset(preset)
    if hub_id not in fetched:
        raise NothingYet(f"Press the button to read the configuration of {hub_id} from the Hub.")
    return from_text(fetched[hub_id], hub_id)
