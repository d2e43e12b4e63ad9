"""Paste your log: what the engine printed beside what was predicted, and a calibration."""

from datetime import UTC, datetime

import streamlit as st

from planner.engines.engine import EngineFigures
from planner.engines.logs import LogReading, Row, compare, explanation, read_log
from planner.engines.logs.calibrate import EngineCalibration, calibrate
from planner.errors import SizewellError
from planner.units import MIB, format_bytes, format_share, format_tokens
from ui.engine_inputs import EngineChoice
from ui.inputs import Chosen
from ui.sentence import as_sentence
from ui.tables import html_table

KEPT = "engine_calibration"


def show(chosen: Chosen, choice: EngineChoice, figures: EngineFigures) -> None:
    """The box, the comparison, and what a calibration changes."""
    st.header("Paste your log", anchor=False)
    text = st.text_area(
        "Start-up log of vLLM, SGLang, TensorRT-LLM or llama.cpp",
        key="engine_log",
        height=160,
        persist_state="session",
        placeholder="Available KV cache memory: 53.91 GiB\nGPU KV cache size: 441,632 tokens",
    )
    if text and text.strip():
        try:
            reading = read_log(text)
            rows = compare(reading, figures)
        except SizewellError as error:
            st.error(as_sentence(str(error)), icon=":material/error:")
        else:
            _compared(reading, rows, figures)
            _offer(chosen, reading, figures)
    _calibrated(chosen, choice, figures)


def _compared(reading: LogReading, rows: tuple[Row, ...], figures: EngineFigures) -> None:
    version = f" {reading.version}" if reading.version else ""
    if reading.version and not reading.version.startswith(figures.version):
        st.caption(
            f"The log is of version {reading.version}, the plan of {figures.version}: choose the "
            "log's version for a fair comparison."
        )
    if reading.refused:
        st.warning(as_sentence(f"The engine refused: {reading.refused}"), icon=":material/warning:")
    if reading.died:
        st.info(
            f"{as_sentence(reading.died.sentence)} {as_sentence(reading.died.advice)}",
            icon=":material/build:",
        )
    if not rows and reading.died:
        return
    if not rows:
        st.info("The log has no line that the plan predicts.")
        return
    st.markdown(as_sentence(explanation(rows)))
    table = [
        (row.label, _shown(row, row.logged), _shown(row, row.predicted), _difference(row),
         "yes" if row.within_range else "no", row.line)
        for row in rows
    ]  # fmt: skip
    st.html(
        html_table(
            ("Figure", f"Log{version}", "Plan", "Difference", "In range", "Line"),
            table,
            numeric=(1, 2, 3),
            strong=[i for i, row in enumerate(rows) if row.name == "kv_cache"],
            stack=True,
        )
    )


def _shown(row: Row, value: float) -> str:
    if row.is_size:
        return format_bytes(round(value))
    return f"{value:,.2f}" if row.name == "concurrency" else format_tokens(round(value))


def _difference(row: Row) -> str:
    if abs(row.difference) <= row.half_digit:
        return "none printed"
    return format_share(row.share, 1, "+")


def _offer(chosen: Chosen, reading: LogReading, figures: EngineFigures) -> None:
    """Buttons: move further plans by the log's differences; set the card's memory."""
    total = reading.bytes_of("total")
    try:
        found = calibrate(reading, figures, datetime.now(UTC).date())
    except SizewellError as error:
        st.caption(as_sentence(str(error)))
        return
    with st.container(horizontal=True):
        st.button(
            "Calibrate this engine by the log", on_click=_keep, args=(found,), key="keep_log",
            icon=":material/tune:",
        )  # fmt: skip
        if total is not None and abs(total - chosen.gpu.memory_bytes) > 8 * MIB:
            st.button(
                f"Set the card's memory to {format_bytes(total)}", on_click=_set_memory,
                args=(total,), key="set_memory", icon=":material/memory:",
            )  # fmt: skip


def _keep(found: EngineCalibration | None) -> None:
    st.session_state[KEPT] = found


def _set_memory(total: int) -> None:
    st.session_state["memory"] = total // MIB


def _calibrated(chosen: Chosen, choice: EngineChoice, figures: EngineFigures) -> None:
    """The pool of this plan, moved by the kept differences."""
    found: EngineCalibration | None = st.session_state.get(KEPT)
    if found is None or found.engine != figures.name:
        return
    moved = found.kv_cache_bytes(figures)
    parts = ", ".join(
        f"{name.replace('_', ' ')} {'+' if size >= 0 else '−'}{format_bytes(abs(size))}"
        for name, size in found.differences
    )
    st.info(
        as_sentence(
            f"With the log's differences ({parts}) the cache of this plan is "
            f"{format_bytes(moved)} instead of {format_bytes(figures.kv_cache.bytes)}"
            f"{_tokens(chosen, choice, moved)}; {found.label}"
        ),
        icon=":material/tune:",
    )
    st.button("Forget the calibration", on_click=_keep, args=(None,), key="forget_log")


def _tokens(chosen: Chosen, choice: EngineChoice, moved: int) -> str:
    """Tokens of the moved pool, where the engine can be told its size."""
    if choice.name != "vllm" or not moved:
        return ""
    again = choice.figures(chosen, kv_cache_memory_bytes=moved)
    if again.refused is not None:
        return ""
    return f", {format_tokens(again.kv_cache_tokens)} tokens"
