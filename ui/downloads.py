"""The plan as a file: built when the button is pressed, all from the same plan object."""

import json
import re

import streamlit as st

from planner.export import as_data
from planner.plan import Plan
from ui.inputs import Chosen
from ui.report_csv import as_csv
from ui.report_markdown import as_markdown
from ui.validation_runs import record_for


def popover(chosen: Chosen, plan: Plan) -> None:
    """Four formats behind one button."""

    def page() -> str:
        from ui.report_html import as_html

        return as_html(plan, chosen.config, record_for(plan.gpu.id))

    def data() -> str:
        return json.dumps(as_data(plan, chosen.config), indent=1, allow_nan=False)

    name = file_name(plan)
    with st.popover("Download report", icon=":material/download:"):
        for label, extension, mime, build in (
            ("HTML, interactive, prints well", "html", "text/html", page),
            (
                "Markdown",
                "md",
                "text/markdown",
                lambda: as_markdown(plan, None, record_for(plan.gpu.id)),
            ),
            ("JSON, opens here again", "json", "application/json", data),
            ("CSV, the derivation", "csv", "text/csv", lambda: as_csv(plan)),
        ):
            st.download_button(
                label,
                data=build,
                file_name=f"{name}.{extension}",
                mime=mime,
                key=f"download_{extension}",
                on_click="ignore",
                width="stretch",
            )


def file_name(plan: Plan) -> str:
    """Model and GPU in characters that every file system takes."""
    text = f"{plan.model.source.rpartition('/')[2]}-on-{plan.deployment.gpus}x-{plan.gpu.id}"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-").lower()[:100]
