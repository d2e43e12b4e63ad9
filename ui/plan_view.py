"""The plan on the page, from the verdict down to the arithmetic."""

import time

import streamlit as st

from planner.fixes import Fix, fixes
from planner.plan import Plan
from planner.verdict import cautions, hindrance, remedy, verdict
from ui import details, downloads, elsewhere, figures, kept, summary, theme
from ui.capacity_map import capacity_map, frontier_rows
from ui.inputs import Chosen, apply_fix
from ui.memory_bar import bar_alt, memory_bar, stage_bars
from ui.sentence import as_sentence
from ui.tables import html_table, memory_table

ENGINES_DIFFER = (
    "By bytes alone. An engine sets memory aside for itself, so it may hold fewer users, or not "
    "start: look under Engine."
)
PAINT_S = 0.1
"""After the answer, so that the browser has painted it before it draws the charts."""
LOAD_S = 0.5
"""Instead in a new tab: the inputs are loaded then too, and charts would hold them up."""


def show(chosen: Chosen, plan: Plan) -> None:
    """Everything about one plan: the answer first and alone, the map, which takes long, last."""
    _head(chosen, plan)
    _verdict(plan)
    st.html(summary.key_figures(plan))
    st.caption(ENGINES_DIFFER)
    _let_paint()
    left, right = st.columns(2, gap="medium")
    with left:
        _memory(plan)
    if known := summary.findings_list(plan):
        st.header("What to know", anchor=False)
        st.html(known)
    details.show(plan)
    with right:
        _map(plan)


def _let_paint() -> None:
    known = st.session_state.get("painted", False)
    st.session_state["painted"] = True
    time.sleep(PAINT_S if known else LOAD_S)


def _head(chosen: Chosen, plan: Plan) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(as_sentence(summary.title(plan)).removesuffix("."), anchor=False)
        downloads.popover(chosen, plan)
        kept.button(plan)
    st.caption(as_sentence(summary.subtitle(plan)).removesuffix("."))
    if not chosen.linkable:
        st.caption("This configuration is not in the link: save the plan as JSON to open it again.")


def _verdict(plan: Plan) -> None:
    found = fixes(plan)
    sentence = verdict(plan)
    if plan.fits and hindrance(plan) is not None:
        st.error(f"**{sentence}**", icon=":material/cancel:")
        return
    if plan.fits:
        hangs = bool(cautions(plan))
        box, icon = (st.warning, "warning") if hangs else (st.success, "check_circle")
        box(f"**{sentence}**", icon=f":material/{icon}:")
        return
    problem = sentence.removesuffix(remedy(found)).strip()
    st.error(f"**{problem}**", icon=":material/cancel:")
    if not found:
        st.markdown(remedy(found))
        return
    st.markdown("Any one of these fixes it:" if len(found) > 1 else "One change fixes it:")
    with st.container(horizontal=True):
        for number, fix in enumerate(found):
            _fix_button(number, fix)
    if any(fix.workload.concurrency < plan.workload.concurrency for fix in found):
        elsewhere.lead("traffic", "Traffic simulates how long the others then wait.")


def _fix_button(number: int, fix: Fix) -> None:
    label = fix.sentence[:1].upper() + fix.sentence[1:]
    st.button(label, key=f"fix_{number}", on_click=apply_fix, args=(fix,), icon=":material/build:")


def _memory(plan: Plan) -> None:
    bars = stage_bars(plan)
    st.header("Memory of a GPU" if len(bars) == 1 else "Memory by pipeline stage", anchor=False)
    st.markdown(memory_bar(bars, bar_alt(bars)), unsafe_allow_html=True)
    st.caption(as_sentence(summary.capacity_note(plan)))
    st.html(memory_table(bars))


def _map(plan: Plan) -> None:
    st.header("Context × users", anchor=False)
    grid = capacity_map(plan)
    dark = theme.dark()
    st.plotly_chart(
        figures.capacity_figure(plan, grid, dark=dark),
        key="map",
        config=figures.CONFIG,
        alt=summary.map_alt(plan),
    )
    st.caption(summary.MAP_NOTE)
    with st.expander("The frontier in numbers", key="open_frontier", on_change="rerun") as panel:
        if panel.open:
            head = ("Users", "Longest context (tokens)")
            st.html(html_table(head, frontier_rows(plan, grid), numeric=(1,)))
