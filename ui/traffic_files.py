"""A simulation as files: its figures over time, and a line for each request."""

import csv
import io

import streamlit as st

from planner.serving import report
from planner.serving.metrics import Served
from planner.serving.replica import Replica
from planner.serving.simulator import Result, simulate
from ui.downloads import file_name
from ui.inputs import Chosen
from ui.traffic_work import Work


def downloads(chosen: Chosen, found: Result, work: Work, one: Replica) -> None:
    """A button for each; a file is built when its button is pressed."""
    files = (
        ("Figures over time (CSV)", "traffic", lambda: _over_time(found)),
        ("Every request (CSV)", "requests", lambda: _requests(work, one)),
    )
    with st.container(horizontal=True):
        for label, what, build in files:
            name = file_name(chosen.model, chosen.deployment.gpus, chosen.gpu, what)
            st.download_button(
                label, build, f"{name}.csv", "text/csv", on_click="ignore",
                icon=":material/download:",
            )  # fmt: skip


def _over_time(found: Result) -> str:
    rows = found.timeline_rows()
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _requests(work: Work, one: Replica) -> str:
    """The same simulation again, noting every request."""
    served: list[Served] = []
    simulate(
        work.requests(), one, replicas=work.replicas, router=work.router, slo=work.slo,
        each=served.append,
    )  # fmt: skip
    return report.requests_csv(served, work.slo)
