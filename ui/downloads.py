"""The plan as a file: built when the button is pressed, all from the same plan object.

Where an engine was chosen on its page, every format has its answer too.
"""

import json
import re
from typing import TYPE_CHECKING

import streamlit as st

from planner.errors import SizewellError
from planner.hardware import Gpu
from planner.model import Model
from planner.plan import Plan
from ui.inputs import ENGINE_CHOSEN, Chosen
from ui.opened_record import record_for
from ui.report_csv import as_csv
from ui.report_markdown import as_markdown
from ui.sentence import as_sentence

if TYPE_CHECKING:
    from planner.engines.engine import EngineFigures


def popover(chosen: Chosen, plan: Plan) -> None:
    """Four formats behind one button."""
    name = file_name(plan.model, plan.deployment.gpus, plan.gpu)
    with st.popover("Download report", icon=":material/download:"):
        engine = _engine(chosen)
        record = record_for(plan.gpu.id)

        def page() -> str:
            from ui.report_html import as_html

            return as_html(plan, chosen.config, record, engine)

        def data() -> str:
            from ui.report_html import report_data

            return json.dumps(report_data(plan, chosen.config, engine), indent=1, allow_nan=False)

        for label, extension, mime, build in (
            ("HTML, interactive, prints well", "html", "text/html", page),
            ("Markdown", "md", "text/markdown", lambda: as_markdown(plan, engine, record)),
            ("JSON, opens here again", "json", "application/json", data),
            ("CSV, the derivation", "csv", "text/csv", lambda: as_csv(plan, engine)),
        ):  # fmt: skip
            st.download_button(
                label,
                data=build,
                file_name=f"{name}.{extension}",
                mime=mime,
                key=f"download_{extension}",
                on_click="ignore",
                width="stretch",
            )


def _engine(chosen: Chosen) -> "EngineFigures | None":
    """The engine's answer to this plan, with a line that says whether the report has it."""
    if st.session_state.get(ENGINE_CHOSEN) is None:
        return None
    from planner.engines.registry import called
    from ui.engine_inputs import figures_kept

    try:
        engine = figures_kept(chosen)
    except SizewellError as error:
        st.caption(as_sentence(f"Without the engine chosen on the Engine page: {error}"))
        return None
    if engine is not None:
        name = called(engine.name, engine.version)
        st.caption(f"With {name}, as chosen on the Engine page.")
    return engine


def file_name(model: Model, gpus: int = 0, gpu: Gpu | None = None, what: str = "") -> str:
    """What it is of, in characters that every file system takes: 'search-qwen3-8b'."""
    where = "" if gpu is None else f"-on-{gpus}x-{gpu.id}"
    text = f"{what}-{model.source.rpartition('/')[2]}{where}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-").lower()[:100]
