"""The left side: what was chosen. Every input is bound to the link under its own name."""

from dataclasses import dataclass
from typing import Any

import streamlit as st
from pydantic import ValidationError

from planner.deployment import Deployment
from planner.errors import PlanRefused, SizewellError
from planner.export import first_error
from planner.fixes import Fix
from planner.hardware import Gpu
from planner.model import Model
from planner.units import counted, format_bytes
from planner.workload import MAX_SEQUENCES, Workload
from presets.gpus import load_gpu
from ui import model_input, options
from ui.bound import BOUND, from_link, to_link
from ui.model_source import ModelChoice
from ui.opened_record import record_for
from ui.saved import (
    DEFAULTS,
    TOKENS,
    deployment_of,
    gpu_of,
    lost,
    values_of,
    values_of_saved,
    workload_of,
)
from ui.uploads import MAX_UPLOAD_MIB, text_of
from ui.whole import count, whole

OUTCOME = "inputs_outcome"
ENGINE_CHOSEN = "engine_chosen"
"""What the Engine page keeps; named here so that a plan without an engine imports none."""
NAME = (
    "<p class='sz-name'><b>Sizewell</b> <span class='sz-wide'>Will this model fit?</span> "
    "GPU memory of LLM inference, in exact bytes.</p>"
)
"""What this is, for someone who opens it for the first time."""


@dataclass(frozen=True)
class Chosen:
    """Everything a plan is made from."""

    model: Model
    config: dict[str, Any]
    gpu: Gpu
    deployment: Deployment
    workload: Workload
    linkable: bool
    """False for a model that a link cannot name: its configuration was pasted or fetched."""


def draw() -> None:
    """Draw all inputs in the sidebar and keep what they say, or why they say nothing.

    All inputs are drawn before anything is refused, so a mistake never takes them away.
    """
    with st.sidebar:
        st.html(NAME)
        complaint, choice = model_input.choose()
        values = {**_gpu(), **_formats(choice), **_work(), **_parallel(), **_advanced()}
        _saved_plan()
    st.session_state[OUTCOME] = complaint if choice is None else _outcome(choice, values)


def chosen() -> Chosen:
    """What `draw` found. Raises the SizewellError that it met, one sentence."""
    outcome: Chosen | SizewellError = st.session_state[OUTCOME]
    if isinstance(outcome, SizewellError):
        raise outcome
    return outcome


def _outcome(choice: ModelChoice, values: dict[str, Any]) -> Chosen | SizewellError:
    try:
        return Chosen(
            choice.model,
            choice.config,
            gpu_of(values),
            deployment_of(values),
            workload_of(values),
            linkable=choice.preset is not None,
        )
    except ValidationError as error:
        return PlanRefused(first_error(error))
    except SizewellError as error:
        return error


def apply_fix(fix: Fix) -> None:
    """Set the inputs that a fix changes (a callback: before the page runs again)."""
    _set(values_of(fix.deployment, fix.workload))


def _set(values: dict[str, Any]) -> None:
    for key, value in values.items():
        st.session_state[key] = str(value) if key in TOKENS else value


def _gpu() -> dict[str, Any]:
    known = options.gpu_options()
    from_link("gpu", known, DEFAULTS["gpu"])
    gpu = st.selectbox(
        "GPU",
        known,
        format_func=options.gpu_label,
        key="gpu",
        help="Type to search: rtx 4090, m3 max 128, p40. Type custom for a card that is not "
        "listed.",
    )
    to_link("gpu", DEFAULTS["gpu"])
    gpus = _count("Number of GPUs", "gpus", "Tensor parallel, unless split below.", 65536)
    memory = None
    if gpu == options.CUSTOM_GPU:
        memory = _memory("Memory of one GPU (MiB)")
    else:
        found = load_gpu(gpu)
        sold = (
            "" if found.memory_marketed_gb is None else f", sold as {found.memory_marketed_gb:g} GB"
        )
        st.caption(f"{format_bytes(found.memory_bytes)} for programs{sold}")
    return {"gpu": gpu, "gpus": gpus, "memory": memory, "calibrated": _calibrated(gpu)}


def _calibrated(gpu: str) -> bool:
    """Whether overheads and speed are those measured on such a card, if there is a record."""
    record = record_for(gpu)
    if record is None:
        return False
    return st.toggle(
        f"As measured on {record.date}",
        key="calibrated",
        help=f"Context, libraries and speed from a validation of {record.card['name']} instead of "
        "general estimates; the Validate page has the record.",
        **BOUND,
    )


def _memory(label: str) -> int | None:
    help_text = "What torch.cuda.mem_get_info or the driver prints as total."
    return whole(label, "memory", 1, 2**24, None, help=help_text, **BOUND)


def _formats(choice: ModelChoice | None) -> dict[str, Any]:
    left, right = st.columns(2)
    weights = left.selectbox(
        "Weights", options.weight_options(), key="weights", help=WEIGHTS_HELP, **BOUND
    )
    kv = right.selectbox("KV cache", options.kv_options(), key="kv", help=KV_HELP, **BOUND)
    own = "bfloat16" if choice is None else choice.model.own_cache
    st.caption(
        f"Weights: {options.describe_weights(weights)}. KV cache: {options.describe_kv(kv, own)}."
    )
    return {"weights": weights, "kv": kv}


WEIGHTS_HELP = (
    "auto keeps what the configuration says. Another format applies to matrices and experts; "
    "embeddings, head, norms and routers stay as they are, except in GGUF files."
)
KV_HELP = "auto is what a quantised checkpoint asks for, else the model's own number format."


def _work() -> dict[str, Any]:
    left, right = st.columns(2)
    with left:
        context = _tokens("context", "Tokens per user, prompt and answer together, such as 32k.")
    with right:
        users = _count("Users", "users", "Sequences held in memory at once.", MAX_SEQUENCES)
    return {"context": context, "users": users}


def _parallel() -> dict[str, Any]:
    with st.expander("Parallelism", key="open_parallelism"):
        pp = _count("Pipeline stages", "pp", "Layers are dealt over this many stages.", 65536)
        dp = _count(
            "Data parallel", "dp", "Replicas of attention; experts are spread over them.", 65536
        )
        dcp = _count(
            "Decode context parallel", "dcp", "Parts of a sequence within tensor parallel.", 65536
        )
        cp = _count("Ring (prefill context parallel)", "cp", "GPUs in the ring.", 65536)
        ep = st.toggle(
            "Expert parallel",
            key="ep",
            help="Whole experts on each GPU instead of a slice of every expert.",
            **BOUND,
        )
        gpus = int(st.session_state["gpus"])
        if gpus % (pp * dp * cp) == 0:
            st.caption(
                f"{counted(gpus, 'GPU')} = tensor "
                f"{gpus // (pp * dp * cp)} × pipeline {pp} × data {dp} × ring {cp}"
            )
    return {"pp": pp, "dp": dp, "dcp": dcp, "cp": cp, "ep": ep}


def _advanced() -> dict[str, Any]:
    with st.expander("Advanced", key="open_advanced"):
        found: dict[str, Any] = {
            "batched": _tokens("batched", "max_num_batched_tokens: tokens in one pass."),
            "block": _count("Block size", "block", "Tokens of a cache block.", 65536),
            "prefix": _tokens("prefix", "First tokens that all users share."),
            "beams": _count("Beams", "beams", "Hypotheses per user.", 1024),
            "prompt": _tokens("prompt", "0: none."),
            "eager": st.toggle(
                "No CUDA graphs", key="eager", help="enforce_eager: saves their memory.", **BOUND
            ),
        }
        if st.session_state["gpu"] != options.CUSTOM_GPU:
            found["memory"] = _memory("Memory of one GPU (MiB), if yours differs")
    return found


def _tokens(key: str, help_text: str) -> str:
    """As typed: what it says is read with the other inputs, when all of them are drawn."""
    found: str | None = st.text_input(
        TOKENS[key], str(DEFAULTS[key]), max_chars=20, key=key, help=help_text, **BOUND
    )
    return found or ""


def _count(label: str, key: str, help_text: str, most: int) -> int:
    return count(label, key, 1, most, DEFAULTS[key], help=help_text, **BOUND)


def _saved_plan() -> None:
    with st.expander("Open a saved plan", key="open_saved"):
        st.file_uploader(
            "Plan saved as JSON",
            key="plan_file",
            on_change=_open_plan,
            max_upload_size=MAX_UPLOAD_MIB,
        )
        if complaint := st.session_state.get("plan_complaint"):
            st.error(complaint, icon=":material/error:")
        if missing := st.session_state.get("plan_lost"):
            st.warning(missing, icon=":material/warning:")


def _open_plan() -> None:
    file = st.session_state["plan_file"]
    st.session_state["plan_complaint"] = st.session_state["plan_lost"] = None
    if file is None:
        return
    try:
        values = values_of_saved(text_of(file))
        _set(values)
        if missing := lost(text_of(file), values):
            st.session_state["plan_lost"] = f"{file.name} was opened, but {missing}."
    except SizewellError as error:
        st.session_state["plan_complaint"] = f"{file.name} was not opened: {error}"
