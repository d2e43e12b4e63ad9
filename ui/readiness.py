"""Ready before the first visitor: what a page needs is read while the browser loads its own part.

Imports and first calls take longer than a plan does, and a page that waited for them would show
its answer that much later.
"""

import gc
import inspect
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from threading import Thread

import streamlit as st
from streamlit import cli_util
from streamlit.web.server import server_util

TURN_S = 0.0005
"""How long the reading may hold the interpreter while the server has files to send."""


@asynccontextmanager
async def while_serving(app: st.App) -> AsyncIterator[None]:
    """The server's start: begin to read, and open the page where a person sits at this machine."""
    _reader.start()
    if not st.get_option("server.headless"):
        cli_util.open_browser(server_util.get_url("localhost"))
    yield


def wait() -> None:
    """Let the reading end, so that two threads never import the same modules at once."""
    if _reader.is_alive():
        _reader.join()


def read() -> None:
    """All that the first page needs, in small turns.

    What was read stays until the end, so no collection of garbage looks at it, now or later:
    a full one would hold up an edit for longer than its answer takes.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(TURN_S)
    gc.disable()
    try:
        for name in ("frame", "plan_view", "refusal"):
            import_module(f"ui.{name}")
        _first_plan()
        inspect.stack()  # Streamlit asks at its first element, and slowly only the first time
    finally:
        gc.freeze()
        gc.enable()
        sys.setswitchinterval(usual)


def _first_plan() -> None:
    from planner.plan import make_plan
    from ui import capacity_map, figures, model_source, saved, validation_runs

    values = saved.DEFAULTS
    validation_runs.record_for(values["gpu"])
    model = model_source.from_preset(values["model"]).model
    plan = make_plan(
        model, saved.gpu_of(values), saved.deployment_of(values), saved.workload_of(values)
    )
    figures.capacity_figure(plan, capacity_map.capacity_map(plan))


_reader = Thread(target=read, daemon=True)
