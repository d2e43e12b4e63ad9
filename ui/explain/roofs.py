"""The roofline: FLOPs per byte decide whether memory or arithmetic is waited for."""

import streamlit as st

from planner.attention import Heads
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.lessons import tiling
from planner.plan import Plan
from planner.timing.passes import decode_pass
from planner.timing.roofline import roofs_of
from planner.units import format_share, format_tokens
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark

LENGTHS = tuple(2**e for e in range(8, 18))


def show(plan: Plan, heads: Heads) -> None:
    """Prefill materialised and tiled, and a decode step, under the roofs of the plan's card."""
    parts.idea(
        "FLOPs per byte meet the roof",
        "Left of the ridge a kernel waits for memory, right of it for arithmetic. Tiling moves a "
        "prompt across; a decode step stays on the left, whatever the kernel.",
    )
    n = st.select_slider(
        "Tokens in the sequence", LENGTHS, 8192, format_func=short_tokens, key="roof_n",
        **BOUND,
    )  # fmt: skip
    roofs = roofs_of(plan.gpu)
    peak, bandwidth = roofs.flops_per_s("bf16"), roofs.read_bytes_per_s
    ridge = peak / bandwidth
    work = {
        "Materialised": tiling.traffic(heads, n).naive_intensity,
        "Tiled": tiling.traffic(heads, n).cached_intensity,
        "Decode step": _decode(plan, n),
    }
    parts.formula(
        f"Ridge of {plan.gpu.name}: {peak / 1e12:,.3g} TFLOP/s / {bandwidth / 1e12:.3g} TB/s = "
        f"{ridge:,.0f} FLOPs per byte",
        *(
            f"{name}: {value:,.0f} FLOPs per byte → at most "
            f"{tiling.reachable_flops_per_s(value, peak, bandwidth) / 1e12:,.3g} TFLOP/s, "
            f"{_reached(value, peak, bandwidth)} of the peak"
            for name, value in work.items()
        ),
    )
    low = min(0.5, *work.values()) / 2
    high = max(4 * ridge, *work.values()) * 2
    x = [low, ridge, high]
    roof = [tiling.reachable_flops_per_s(v, peak, bandwidth) / 1e12 for v in x]
    chart = charts.lines(
        x, {"roof": roof}, ("FLOPs per byte", "TFLOP/s"), dark=dark(),
        marks=[
            (v, tiling.reachable_flops_per_s(v, peak, bandwidth) / 1e12, name)
            for name, v in work.items()
        ],
        places=("top left", "bottom left"),
        xaxis={"type": "log", "tickvals": [1, 10, 100, 1000, 10000],
               "ticktext": ["1", "10", "100", "1,000", "10,000"]},
        yaxis={"type": "log", "tickvals": [1, 10, 100, 1000], "ticktext": ["1", "10", "100",
               "1,000"]},
        showlegend=False,
    )  # fmt: skip
    rows = [
        [
            name, f"{value:,.0f}", "memory" if value < ridge else "arithmetic",
            _reached(value, peak, bandwidth),
        ]
        for name, value in work.items()
    ]  # fmt: skip
    table = html_table(("Work", "FLOPs per byte", "Waits for", "Of the peak"), rows, numeric=(1, 3))
    alt = (
        f"A roof that rises with FLOPs per byte to {peak / 1e12:,.0f} TFLOP/s at {ridge:,.0f}; "
        + "; ".join(f"{name} at {value:,.0f}" for name, value in work.items()) + "."
    )  # fmt: skip
    parts.figure(chart, "explain_roofline", alt, table)
    parts.note(
        f"Attention of one sequence of {format_tokens(n)} tokens, 16-bit products. Tiled: "
        "the L2 cache serves the re-reads of K and V. The roofs are published peaks, or what was "
        "measured where the card was validated."
    )


def _reached(flops_per_byte: float, peak: float, bandwidth: float) -> str:
    return format_share(tiling.reachable_flops_per_s(flops_per_byte, peak, bandwidth) / peak, 1)


def _decode(plan: Plan, tokens: int) -> float:
    """FLOPs per byte of the attention of one decode step over the whole model."""
    alone = Deployment(kv_cache_dtype=plan.deployment.kv_cache_dtype)
    stages = decode_pass(plan.model, alone, 1, tokens).stages
    moved = sum(s.attention.kv_bytes + s.attention.activation_bytes for s in stages)
    if not moved:
        raise PlanRefused("this model reads no cache, so a decode step has no attention to place")
    return float(sum(s.attention.flops for s in stages) / moved)
