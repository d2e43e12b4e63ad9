"""Data parallelism: what every GPU holds of a training state, and what sharing it costs."""

import streamlit as st

from planner.lessons.data_parallel import Stage, zero_stages
from planner.plan import Plan
from planner.units import format_bytes
from ui.bound import BOUND
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

TITLE = "Every GPU a copy, or its part of one"
IDEA = (
    "Training copies see different tokens and add up their gradients. ZeRO shares out what the "
    "copies have alike: first the optimizer, then gradients, then parameters, and pays in traffic "
    "for every micro-batch."
)


def show(plan: Plan) -> None:
    a, b = st.columns(2)
    ranks = a.select_slider("GPUs", (2, 4, 8), 4, key="ranks", **BOUND)
    batches = b.slider("Micro-batches a step", 1, 32, 8, key="micros", **BOUND)
    found = zero_stages(plan.model, plan.gpu, ranks, batches)
    whole, last = found[0], found[-1]
    parts.formula(
        f"{whole.name}: {whole.parameters:,} parameters × {whole.bytes_per_parameter:.0f} B = "
        f"{format_bytes(whole.held_bytes)} on each GPU",
        f"{last.name}: {last.bytes_per_parameter:.3g} B a parameter = "
        f"{format_bytes(last.held_bytes)}, for {parts.times(last.sent_bytes / whole.sent_bytes)} "
        "the traffic",
    )
    _held(found, ranks)
    _sent(found, ranks, batches)
    parts.note(
        f"Full training of {plan.model.source} in bf16 with AdamW: 2 B a parameter, 2 B its "
        "gradient, 12 B an fp32 copy and two moments (Rajbhandari et al. 2020). Activations, and "
        "the module that ZeRO-3 has gathered at a time, come on top; the Train page counts them. "
        "The traffic is the paper's; that page has what PyTorch and DeepSpeed send."
    )


def _held(found: tuple[Stage, ...], ranks: int) -> None:
    names = [stage.name for stage in found]
    kinds = tuple(found[0].held)
    chart = charts.bars(
        names,
        {kind: [stage.held[kind] / 2**30 for stage in found] for kind in kinds},
        "GiB on each GPU",
        dark=dark(),
        stacked=True,
    )
    rows = [
        [stage.name, *(format_bytes(stage.held[kind]) for kind in kinds),
         format_bytes(stage.held_bytes)]
        for stage in found
    ]  # fmt: skip
    table = html_table(("Sharing", *kinds, "All"), rows, numeric=(1, 2, 3, 4))
    alt = f"Bars of what each of {ranks} GPUs holds: " + ", ".join(
        f"{stage.name} {format_bytes(stage.held_bytes)}" for stage in found
    )
    parts.figure(chart, "explain_zero_held", f"{alt}.", table, below=True)


def _sent(found: tuple[Stage, ...], ranks: int, batches: int) -> None:
    chart = charts.bars(
        [stage.name for stage in found],
        {"sent": [stage.sent_bytes / 2**30 for stage in found]},
        "GiB that leave each GPU in a step",
        dark=dark(),
        labels=[[format_bytes(stage.sent_bytes) for stage in found]],
    )
    rows = [
        [stage.name, what, f"{times:,}", format_bytes(size), format_bytes(times * size)]
        for stage in found
        for what, times, size in stage.sent
    ]
    table = html_table(("Sharing", "What", "Times", "Each", "A step"), rows, numeric=(2, 3, 4))
    alt = (
        f"Bars of what leaves each of {ranks} GPUs in a step of "
        f"{batches} micro-batch{'' if batches == 1 else 'es'}: "
        + ", ".join(f"{stage.name} {format_bytes(stage.sent_bytes)}" for stage in found)
    )
    parts.figure(chart, "explain_zero_sent", f"{alt}.", table, below=True)
