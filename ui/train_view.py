"""The Train page below its inputs: verdict, figures, memory bar, limits, time, arithmetic."""

import json
from html import escape

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from planner.errors import SizewellError
from planner.offer import Offer
from planner.positions import beyond_stated
from planner.training.capacity import Limits, limits
from planner.training.explain import LABELS, derivation, verdict
from planner.training.export import (
    as_data,
    limit_rows,
    memory_rows,
    past_positions,
    published_rows,
    ranged,
    time_rows,
)
from planner.training.notes import notes
from planner.training.plan import TrainingPlan
from planner.training.speed import StepTime, step_time
from planner.units import counted, format_bytes, format_share, format_tokens
from presets.offers import cheapest_offer
from presets.speed import speed_of
from ui.downloads import file_name
from ui.sentence import as_sentence
from ui.tables import html_table
from ui.train_report import as_markdown, moved_rows, remedy, title

COLOURS = {
    "parameters": "weights", "frozen_parameters": "draft", "gradients": "kv_cache",
    "master_weights": "attention_workspace", "optimizer_states": "block_tables",
    "kept": "activations", "transient": "block_rounding", "ddp_buckets": "exchanged",
    "zero_buckets": "exchanged", "fsdp_gathered": "exchanged",
}  # fmt: skip
"""Whose colour a part takes that has none of its own name."""


def parts(plan: TrainingPlan) -> list[tuple[str, str, int, bool]]:
    """(component, label, bytes, estimated) of the bar: run time in one, as on the other pages."""
    runtime = plan.stage.runtime
    rows = [
        (COLOURS.get(key, key), label, size, estimated)
        for key, label, size, estimated in memory_rows(plan)
        if size and key not in runtime
    ]
    return [*rows, ("runtime", "Run time", sum(e.bytes for e in runtime.values()), True)]


def show(plan: TrainingPlan, top: DeltaGenerator) -> None:
    """Everything about one training plan; the answer goes to `top`, above the inputs."""
    found = limits(plan)
    time, untimed, price = _time(plan)
    with top:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.title(as_sentence(title(plan)).removesuffix("."), anchor=False)
            _downloads(plan, found, time, untimed, price)
        _verdict(plan)
        st.html(_key_figures(plan, found, time, price))
    left, right = st.columns(2, gap="medium")
    with left:
        _memory(plan)
    with right:
        _answers(plan, found, time, untimed, price)
    with st.expander("How this was worked out", key="open_train_steps", on_change="rerun") as panel:
        if panel.open:
            st.html(_derivation(plan))


def _verdict(plan: TrainingPlan) -> None:
    sentence = verdict(plan)
    if not plan.fits:
        st.error(f"**{sentence}** {remedy(plan)}", icon=":material/cancel:")
    elif plan.stage.range_bytes[1] > plan.gpu.memory_bytes:
        st.warning(f"**{sentence}**", icon=":material/warning:")
    else:
        st.success(f"**{sentence}**", icon=":material/check_circle:")
    if beyond := beyond_stated(plan.model, plan.recipe.sequence_length, served=False):
        st.warning(beyond, icon=":material/straighten:")


def _time(plan: TrainingPlan) -> tuple[StepTime | None, str, Offer | None]:
    """The time, or why there is none; what the GPUs cost."""
    time, untimed = None, ""
    try:
        time = step_time(plan, speed_of(plan.gpu))
    except SizewellError as error:
        untimed = str(error)
    return time, untimed, cheapest_offer(plan.gpu, plan.recipe.gpus)


def _key_figures(
    plan: TrainingPlan, found: Limits, time: StepTime | None, price: Offer | None
) -> str:
    memory, need = plan.gpu.memory_bytes, plan.total_bytes
    low, high = plan.stage.range_bytes
    cards = [
        ("Needed on the fullest GPU" if plan.recipe.gpus > 1 else "Needed", format_bytes(need),
         f"{format_share(need / memory)} of {format_bytes(memory)}; estimated range "
         f"{format_bytes(low)} to {format_bytes(high)}"),
        ("Left" if plan.fits else "Short", format_bytes(abs(plan.headroom_bytes)), "on that GPU"),
        ("Largest micro-batch", f"{found.micro_batch_size:,}" if found.micro_batch_size
         else "none fits", f"of {counted(plan.recipe.sequence_length, 'token')}"),
        ("Longest sequence", format_tokens(found.sequence_length) if found.sequence_length
         else "none fits", f"at micro-batch {plan.recipe.micro_batch_size:,}"
         + past_positions(plan, found)),
    ]  # fmt: skip
    if time is not None:
        cost = "no price is known"
        if price is not None:
            cost = f"${time.usd_per_billion_tokens(price):,.0f} a billion tokens"
        cards.append(("Tokens per second", f"{time.tokens_per_s:,.0f}",
                      f"MFU {format_share(time.mfu)}; {cost}; an estimate"
                      + ("" if plan.fits else ", if it fitted")))  # fmt: skip
    return "<dl class='sz-kpis'>" + "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in cards
    ) + "</dl>"  # fmt: skip


def _memory(plan: TrainingPlan) -> None:
    st.header("Memory of the fullest GPU", anchor=False)
    rows = parts(plan)
    st.markdown(bar(plan), unsafe_allow_html=True)
    low, high = plan.stage.range_bytes
    table = [
        (label + (" (estimate)" if estimated else ""), format_bytes(size))
        for _, label, size, estimated in rows
    ]
    table += [
        ("Total", format_bytes(plan.total_bytes)),
        ("With the estimates' ranges", f"{format_bytes(low)} to {format_bytes(high)}"),
        ("A program can allocate", format_bytes(plan.gpu.memory_bytes)),
        ("Left (short where negative)", format_bytes(plan.headroom_bytes)),
    ]
    st.html(
        html_table(
            ("Part", "Size"), table, numeric=(1,), strong=(len(rows), len(rows) + 3),
            swatches=[key for key, *_ in rows],
        )
    )  # fmt: skip
    if moved := moved_rows(plan):
        st.html(html_table(("Beside the GPU", "Size"), moved, numeric=(1,)))


def bar(plan: TrainingPlan) -> str:
    """The fullest GPU as SVG: parts in order, the card's limit as a line."""
    rows = parts(plan)
    capacity = plan.gpu.memory_bytes
    scale = 100 / (1.005 * max(capacity, plan.total_bytes))
    x, drawn = 0.0, []
    for key, label, size, _ in rows:
        width = size * scale
        drawn.append(
            f'<rect class="sz-{key}" x="{x:.3f}%" y="4" height="30" '
            f'width="{width:.3f}%" stroke="currentColor" stroke-width=".5"><title>{escape(label)}: '
            f"{format_bytes(size)}</title></rect>"
        )
        if width >= 14:
            drawn.append(
                f'<text class="sz-in" x="{x + 0.8:.3f}%" y="24">{format_bytes(size)}</text>'
            )
        x += width
    edge = capacity * scale
    words = ", ".join(f"{label.lower()} {format_bytes(size)}" for _, label, size, _ in rows)
    alt = f"{format_bytes(plan.total_bytes)} of {format_bytes(capacity)}: {words}."
    return (
        f'<svg class="sz-bar" width="100%" height="40" role="img" aria-label="{escape(alt)}">'
        f'<rect class="sz-track" x="0" y="4" width="{edge:.3f}%" height="30"/>{"".join(drawn)}'
        f'<line class="sz-limit" x1="{edge:.3f}%" x2="{edge:.3f}%" y1="0" y2="38"/></svg>'
    )


def _answers(
    plan: TrainingPlan, found: Limits, time: StepTime | None, untimed: str, price: Offer | None,
) -> None:  # fmt: skip
    st.header("What else would fit", anchor=False)
    st.html(html_table(("Question", "Answer"), limit_rows(plan, found)))
    if time is not None:
        st.header("Time and cost (estimate)", anchor=False)
        st.html(html_table(("What", "Value"), time_rows(time, price)))
        st.caption(as_sentence(time.source))
    else:
        st.caption(as_sentence(f"No time is given: {untimed}"))
    if theirs := published_rows(plan):
        st.header("Beside the frameworks' own estimators", anchor=False)
        st.html(html_table(("What", "Theirs", "Here"), theirs, numeric=(1, 2), stack=True))


def _derivation(plan: TrainingPlan) -> str:
    steps = derivation(plan)
    rows = [
        (s.label, s.formula, s.substitution, f"{s.bytes:,} B", format_bytes(s.bytes)) for s in steps
    ]
    note = " ".join(escape(text) for text in notes(plan))
    head = ("Line", "Formula", "With the numbers", "Bytes", "Size")
    estimates = [
        (LABELS.get(name, name), ranged(e), e.source) for name, e in plan.stage.estimates.items()
    ]
    return (
        "<p class='sz-note'>Lines in bold add up to the total of the fullest GPU. " + note + "</p>"
        + html_table(
            head, rows, numeric=(3, 4), stack=True,
            strong=[i for i, s in enumerate(steps) if s.in_total],
        )
        + html_table(("Estimate", "Value", "Source"), estimates, stack=True)
    )  # fmt: skip


def _downloads(
    plan: TrainingPlan, found: Limits, time: StepTime | None, untimed: str, price: Offer | None,
) -> None:  # fmt: skip
    name = file_name(plan.model, plan.recipe.gpus, plan.gpu, "training")
    with st.popover("Download report", icon=":material/download:"):
        for label, extension, build in (
            ("Markdown", "md", lambda: as_markdown(plan, found, time, price, untimed)),
            ("JSON", "json", lambda: json.dumps(
                as_data(plan, found, time, price, untimed), indent=1, allow_nan=False)),
        ):  # fmt: skip
            st.download_button(
                label, data=build, file_name=f"{name}.{extension}",
                key=f"train_download_{extension}", on_click="ignore", width="stretch",
            )  # fmt: skip
