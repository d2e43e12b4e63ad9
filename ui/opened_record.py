"""The record opened on the Validate page: kept for the session, and used for plans of its card."""

import streamlit as st

from planner.errors import SizewellError
from ui import validation_runs
from ui.sentence import as_sentence
from validate.record import Record, from_bytes

UPLOAD, KEPT, COMPLAINT = "record_file", "opened_record", "record_complaint"


def uploader() -> None:
    """Where a record from elsewhere is opened, and what is wrong with one that is none."""
    st.file_uploader("Record", type="json", key=UPLOAD, max_upload_size=20, on_change=_open)


def complaint() -> str | None:
    """Why the last file was not opened."""
    found: str | None = st.session_state.get(COMPLAINT)
    return found


def opened() -> Record | None:
    """The record that this session looks at beside those that are here."""
    found: Record | None = st.session_state.get(KEPT)
    return found


def record_for(gpu_id: str) -> Record | None:
    """The measurement that plans of this card may use: the opened one, else one that is here."""
    record = opened()
    if record is not None and validation_runs.measures(record, gpu_id):
        return record
    return validation_runs.record_for(gpu_id)


def _open() -> None:
    file = st.session_state[UPLOAD]
    st.session_state[COMPLAINT] = None
    if file is None:
        st.session_state[KEPT] = None
        return
    try:
        st.session_state[KEPT] = from_bytes(file.getvalue())
    except SizewellError as error:
        st.session_state[COMPLAINT] = as_sentence(f"{file.name} was not opened: {error}")
