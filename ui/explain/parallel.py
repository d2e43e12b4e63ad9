"""Parallelism as time: who holds what, who sends what, who waits."""

from collections.abc import Callable

import streamlit as st

from planner.kinds.mlp import MoE
from planner.lessons import parallel_timeline as lesson
from planner.lessons.parallel_timeline import Timeline
from planner.lessons.ring_timeline import ring_attention
from planner.plan import Plan
from planner.units import format_share, format_tokens
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, data_parallel, parts
from ui.tables import html_table
from ui.theme import dark

TENSOR, STAGES, EXPERTS, RING, STRIPED, DATA = (
    "Tensor", "Pipeline", "Expert", "Ring", "Striped ring", "Data",
)  # fmt: skip
IDEAS = {
    TENSOR: (
        "Every GPU a slice of every layer",
        "All GPUs work on the same tokens. Twice in every layer they must add up what they have, "
        "so links decide how far this goes.",
    ),
    STAGES: (
        "Every GPU some of the layers",
        "Only hidden states travel, once for each stage, but a stage waits until the one before is "
        "done. More batches in flight fill the gaps.",
    ),
    EXPERTS: (
        "Every GPU some of the experts",
        "Tokens travel to the GPUs that hold their experts and come back: two all-to-alls in every "
        "layer.",
    ),
    RING: (
        "Every GPU a block of the tokens",
        "Keys and values go around a ring. Under a causal mask early tokens have little to attend "
        "to, so their GPU waits for the last one in every step.",
    ),
    STRIPED: (
        "Every GPU each n-th token",
        "The same ring, but every GPU holds tokens from the whole length, so all have about half a "
        "block to compute in every step.",
    ),
    DATA: (data_parallel.TITLE, data_parallel.IDEA),
}
"""Title and idea of each way."""


def show(plan: Plan) -> None:
    way = st.segmented_control(
        "Way", tuple(IDEAS), default=TENSOR, key="way", required=True, **BOUND
    )
    parts.idea(*IDEAS[way])
    if way == DATA:
        data_parallel.show(plan)
        return
    a, b, c = st.columns(3)
    ranks = a.select_slider("GPUs", (2, 4, 8), 4, key="ranks", **BOUND)
    n = b.select_slider(
        "Tokens of the prompt", tuple(2**e for e in range(10, 19)), 32768,
        format_func=short_tokens, key="around", **BOUND,
    )  # fmt: skip
    batches = (
        c.slider("Batches in flight", 1, 16, 4, key="batches", **BOUND) if way == STAGES else 1
    )
    found, formulas = WAYS[way](plan, ranks, n, batches)
    parts.formula(*formulas)
    busy = [found.busy(rank) for rank in range(ranks)]
    rows = [
        [f"GPU {rank}", holds, format_share(share)]
        for rank, (holds, share) in enumerate(zip(found.holds, busy, strict=True))
    ]
    table = html_table(("GPU", "Holds", "Computes"), rows, numeric=(2,))
    alt = (
        f"A row of time for each of {ranks} GPUs, {parts.seconds(found.seconds)} in all; they "
        f"compute {format_share(min(busy))} to {format_share(max(busy))} of it."
    )
    parts.figure(charts.timeline(found, dark=dark()), "explain_timeline", alt, table)
    parts.note(f"Sends: {found.sends}.")
    parts.note(
        f"Drawn for {plan.model.source} on {plan.gpu.name}: arithmetic at its roof, links at what "
        "they sustain. A real engine is slower in both; the proportions are the point."
    )


Drawn = tuple[Timeline, tuple[str, ...]]


def _tensor(plan: Plan, ranks: int, n: int, _: int) -> Drawn:
    one = lesson.layer(plan.model, n)
    found = lesson.tensor_parallel(one, ranks, plan.gpu)
    alone = lesson.tensor_parallel(one, 1, plan.gpu).seconds
    return found, (
        f"One layer: {parts.seconds(alone)} on one GPU, {parts.seconds(found.seconds)} on {ranks}: "
        f"{alone / found.seconds:.2f} times as fast and not {ranks}",
    )


def _stages(plan: Plan, ranks: int, n: int, batches: int) -> Drawn:
    one = lesson.layer(plan.model, n)
    found = lesson.pipeline(one, plan.model.num_hidden_layers, ranks, batches, plan.gpu)
    idle = lesson.bubble(ranks, batches)
    return found, (
        f"Idle with equal stages: (p − 1) / (m + p − 1) = {ranks - 1} / {batches + ranks - 1} = "
        f"{format_share(idle, 1)}",
        f"All {plan.model.num_hidden_layers} layers: {parts.seconds(found.seconds)} for "
        f"{format_tokens(n)} tokens in {batches} {'batch' if batches == 1 else 'batches'}",
    )


def _experts(plan: Plan, ranks: int, n: int, _: int) -> Drawn:
    one = lesson.layer(plan.model, n, experts=True)
    count = next(g.mlp.num_experts for g in plan.model.groups if isinstance(g.mlp, MoE))
    found = lesson.expert_parallel(one, ranks, plan.gpu, count)
    sending = sum(s.end_s - s.start_s for s in found.spans if s.rank == 0 and s.doing == "send")
    return found, (
        f"{count} experts / {ranks} GPUs = {-(-count // ranks)} each; a token goes to {one.top_k}",
        f"Sending takes {parts.seconds(sending)} of {parts.seconds(found.seconds)}: "
        f"{format_share(sending / found.seconds)}",
    )


def _ring(plan: Plan, ranks: int, n: int, _: int) -> Drawn:
    return _rings(plan, ranks, n, striped=False)


def _striped(plan: Plan, ranks: int, n: int, _: int) -> Drawn:
    return _rings(plan, ranks, n, striped=True)


def _rings(plan: Plan, ranks: int, n: int, *, striped: bool) -> Drawn:
    one = lesson.layer(plan.model, n)
    found = ring_attention(one, ranks, plan.gpu, striped=striped)
    other = ring_attention(one, ranks, plan.gpu, striped=not striped)
    plain, even = (other, found) if striped else (found, other)
    return found, (
        f"Attention of one layer: {parts.seconds(plain.seconds)} with blocks, "
        f"{parts.seconds(even.seconds)} with stripes: {plain.seconds / even.seconds:.2f} times",
        f"Without links it is (2n − 1) / n = {2 * ranks - 1} / {ranks} = "
        f"{(2 * ranks - 1) / ranks:.2f} times",
    )


WAYS: dict[str, Callable[[Plan, int, int, int], Drawn]] = {
    TENSOR: _tensor,
    STAGES: _stages,
    EXPERTS: _experts,
    RING: _ring,
    STRIPED: _striped,
}
