"""Tiling: the walk over Q, K and V, what is on the chip, what crosses to it, what that buys."""

import plotly.graph_objects as go
import streamlit as st

from planner.attention import KEY_TILE, QUERY_TILE, Heads
from planner.errors import PlanRefused
from planner.lessons import tiling
from planner.lessons.tiling import Tile
from planner.plan import Plan
from planner.units import KIB, format_bytes, format_tokens
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, levels, parts, roofs
from ui.tables import html_table
from ui.theme import dark

SIZES = (16, 32, 64, 128, 256)
WALKED = (256, 512, 1024)
COLOURS = ("#c3c9d2", "#e6f0fd", "#8fbaf3", "#ffd23f")
SKIPPED, AHEAD, DONE, NOW = range(4)
LENGTHS = tuple(2**e for e in range(9, 18))


def show(plan: Plan) -> None:
    heads = plan.footprint.heads
    if heads is None:
        raise PlanRefused(
            f"{plan.model.source} has no softmax attention, so there is nothing to tile: choose "
            "another model in the sidebar"
        )
    levels.show(plan, heads)
    _walk(plan, heads)
    _traffic(plan, heads)
    _sources(plan)
    roofs.show(plan, heads)


def _walk(plan: Plan, heads: Heads) -> None:
    parts.idea(
        "A walk over tiles",
        "A tile of queries stays on the chip while tiles of keys and values pass by. Its scores "
        "live only as long as their step, so the whole score matrix never exists.",
    )
    a, b, c = st.columns(3)
    n = a.select_slider("Tokens", WALKED, 512, key="walked", **BOUND)
    rows = b.select_slider("Queries in a tile", SIZES, 128, key="tile_q", **BOUND)
    columns = c.select_slider("Keys in a tile", SIZES, 64, key="tile_k", **BOUND)
    tile = Tile(rows, columns)
    order = tiling.walk(n, tile)
    share = st.slider("How far the walk has come (%)", 0, 100, 50, key="walk", **BOUND)
    at = min(len(order) - 1, share * len(order) // 100)
    held = tiling.on_chip(tile, heads.score_dim, heads.value_dim)
    size = plan.gpu.smem_per_sm_bytes
    room = "" if size is None else f" of {format_bytes(size)} on one multiprocessor"
    fits = "" if size is None or held.shared_bytes <= size else ": does not fit, choose less"
    parts.formula(
        f"Shared memory: ({rows} × {heads.score_dim} + {columns} × {heads.score_dim} + {columns} × "
        f"{heads.value_dim}) × 2 B = {format_bytes(held.shared_bytes)}{room}{fits}",
        f"Step {at + 1:,} of {len(order):,}: queries from {order[at][0] * rows:,}, keys from "
        f"{order[at][1] * columns:,}. The causal mask skips "
        f"{_all(n, tile) - len(order):,} of {_all(n, tile):,} tiles",
    )
    rows_of = [
        ["Q tile", format_bytes(held.queries_bytes), "shared memory"],
        ["K tile", format_bytes(held.keys_bytes), "shared memory"],
        ["V tile", format_bytes(held.values_bytes), "shared memory"],
        ["Scores, float32", format_bytes(held.scores_bytes), "registers"],
        ["Output, float32", format_bytes(held.output_bytes), "registers"],
        ["Whole score matrix", format_bytes(2 * n * n), "never exists"],
    ]
    table = html_table(("One head, one step", "Bytes", "Where"), rows_of, numeric=(1,), strong=(5,))
    alt = (
        f"A grid of tiles of {n} queries by {n} keys: {at} tiles done, one in work, "
        f"{len(order) - at - 1} ahead, the rest skipped by the causal mask."
    )
    parts.figure(_grid(n, tile, order, at), "explain_walk", alt, table)
    parts.note(
        "Yellow with a ring: in work. Blue with a tick: done. Pale: ahead. Grey with a dash: "
        "skipped by the mask. Real kernels keep two or three tiles of K and V on their way."
    )


def _all(n: int, tile: Tile) -> int:
    rows, columns = tiling.grid(n, tile)
    return rows * columns


def _grid(n: int, tile: Tile, order: list[tuple[int, int]], at: int) -> go.Figure:
    rows, columns = tiling.grid(n, tile)
    state = [[SKIPPED] * columns for _ in range(rows)]
    for number, (i, j) in enumerate(order):
        state[i][j] = DONE if number < at else NOW if number == at else AHEAD
    small = rows * columns <= 256
    signs = {SKIPPED: "–", AHEAD: "", DONE: "✓", NOW: "◉"}
    words = [[signs[v] if small or v == NOW else "" for v in row] for row in state]
    return charts.cells(
        state, words, COLOURS, ("Tiles of keys and values", "Tiles of queries"),
        dark=dark(), height=360,
        xaxis={"tickvals": list(range(columns))[:: max(1, columns // 8)]},
        yaxis={"tickvals": list(range(rows))[:: max(1, rows // 8)]},
    )  # fmt: skip


def _traffic(plan: Plan, heads: Heads) -> None:
    parts.idea(
        "What crosses to the chip",
        "Materialised, the scores travel four times: written, read by softmax, written, read "
        "again. Tiled, only Q, K, V and the output travel; each tile of queries reads K and V "
        "again, mostly from the L2 cache.",
    )
    n = st.select_slider(
        "Tokens of the prompt", LENGTHS, 8192, format_func=short_tokens, key="prompt_n",
        **BOUND,
    )  # fmt: skip
    found = tiling.traffic(heads, n)
    parts.formula(
        f"Materialised: 2 B × 4 × {heads.num_heads} heads × {n:,}² + Q, K, V, O = "
        f"{format_bytes(found.naive_bytes)}",
        f"Tiled: 2 B × (⌈{n:,} / {QUERY_TILE}⌉ + 1) × {n:,} × {heads.num_heads} heads × "
        f"{heads.score_dim + heads.value_dim} + statistics = {format_bytes(found.flash_bytes)}, "
        f"{parts.times(found.saving)} less",
        f"With re-reads from L2: 2 B × {n:,} × ({heads.num_heads} + {heads.num_kv_heads}) heads × "
        f"{heads.score_dim + heads.value_dim} + statistics = {format_bytes(found.cached_bytes)}, "
        f"{parts.times(found.naive_bytes / found.cached_bytes)} less",
        _l2(plan, heads, n),
    )
    all_found = [tiling.traffic(heads, length) for length in LENGTHS]
    ticks = [2**e for e in range(20, 50, 4)]
    chart = charts.lines(
        LENGTHS,
        {
            "materialised": [t.naive_bytes for t in all_found],
            "tiled": [t.flash_bytes for t in all_found],
            "tiled, re-reads from L2": [t.cached_bytes for t in all_found],
        },
        ("Tokens of the prompt", "Traffic of one layer"),
        dark=dark(),
        marks=[(n, found.naive_bytes, format_bytes(found.naive_bytes)),
               (n, found.cached_bytes, format_bytes(found.cached_bytes))],
        xaxis={"type": "log", "tickvals": LENGTHS[::2],
               "ticktext": [short_tokens(v) for v in LENGTHS[::2]]},
        yaxis={"type": "log", "tickvals": ticks, "ticktext": [format_bytes(v) for v in ticks]},
    )  # fmt: skip
    rows = [
        [format_tokens(t.tokens), format_bytes(t.naive_bytes), format_bytes(t.flash_bytes),
         format_bytes(t.cached_bytes)]
        for t in all_found
    ]  # fmt: skip
    table = html_table(
        ("Tokens", "Materialised", "Tiled", "Re-reads from L2"), rows, numeric=(1, 2, 3)
    )
    alt = (
        f"Bytes that one layer moves by prompt length, materialised above tiled: "
        f"{parts.times(found.saving)} less at {format_tokens(n)} tokens."
    )
    parts.figure(chart, "explain_traffic", alt, table)
    parts.note(
        f"One layer, one sequence, no mask, 16-bit, {QUERY_TILE} queries and {KEY_TILE} keys in a "
        "tile. A real kernel moves something between the two lower lines."
    )


def _l2(plan: Plan, heads: Heads, n: int) -> str:
    """Whether the keys and values of one head stay in the L2 cache of the plan's card."""
    kept = format_bytes(2 * n * (heads.score_dim + heads.value_dim))
    size = plan.gpu.l2_bytes
    room = "" if size is None else f"; {plan.gpu.name} has {format_bytes(size)} of L2"
    return f"K and V of one head: {kept}{room}"


def _sources(plan: Plan) -> None:
    parts.idea(
        "Where “23 times” comes from",
        "Articles divide N² accesses by N² d² / M: more SRAM helps, wider heads hurt, the length "
        "cancels. That is an order of growth. Counted in bytes, with every read and write, the "
        "saving has the same shape and is smaller.",
    )
    a, b, c = st.columns(3)
    n = a.select_slider("Tokens, N", (512, 1024, 2048, 4096, 8192, 32768), 2048, key="io_n",
                        format_func=short_tokens, **BOUND)  # fmt: skip
    d = b.select_slider("Width of a head, d", (32, 64, 80, 96, 128, 192, 256), 64, key="head_d",
                        **BOUND)  # fmt: skip
    kib = c.slider("SRAM, M (KiB)", 32, 256, 96, 4, key="sram", **BOUND)
    naive, tiled = tiling.published_accesses(n, d, kib * KIB)
    rows = tiling.published_tile(d, kib * KIB)
    moved = tiling.materialised_bytes(n, d), tiling.tiled_bytes(n, d, rows)
    parts.formula(
        f"Quoted: {n:,}² / ({n:,}² × {d}² / {kib * KIB:,}) = {naive:,} / {tiled:,.0f} = "
        f"{naive / tiled:.1f}",
        f"In bytes, tiles of M / 4d = {rows} queries: {format_bytes(moved[0])} / "
        f"{format_bytes(moved[1])} = {moved[0] / moved[1]:.1f}",
        *_own(plan, n, d),
    )
    x = list(range(32, 257, 16))
    chart = charts.lines(
        x,
        {
            "quoted, M / d²": [v * KIB / d**2 for v in x],
            "in bytes": [_saving(n, d, v * KIB) for v in x],
        },
        ("SRAM (KiB)", "Saved, times"),
        dark=dark(),
        marks=[(kib, naive / tiled, f"{naive / tiled:.1f}"),
               (kib, moved[0] / moved[1], f"{moved[0] / moved[1]:.1f}")],
    )  # fmt: skip
    table = html_table(
        ("SRAM", "Tile", "Quoted", "In bytes"),
        [
            [f"{v} KiB", f"{tiling.published_tile(d, v * KIB)}", f"{v * KIB / d**2:.1f}×",
             f"{_saving(n, d, v * KIB):.1f}×"]
            for v in sorted({64, 100, 164, 228, kib})
        ],
        numeric=(1, 2, 3),
    )  # fmt: skip
    alt = (
        f"Savings by SRAM for heads of {d}: at {kib} KiB {naive / tiled:.1f} times as quoted, "
        f"{moved[0] / moved[1]:.1f} times in bytes."
    )
    parts.figure(chart, "explain_sources", alt, table)


def _saving(n: int, d: int, sram: int) -> float:
    rows = tiling.published_tile(d, sram)
    return tiling.materialised_bytes(n, d) / tiling.tiled_bytes(n, d, rows)


def _own(plan: Plan, n: int, d: int) -> list[str]:
    """The same for the card of the plan, where its shared memory is known."""
    size = plan.gpu.smem_per_sm_bytes
    if size is None:
        return []
    return [
        f"{plan.gpu.name}, {format_bytes(size)} on a multiprocessor: quoted {size / d**2:.1f}, "
        f"in bytes {_saving(n, d, size):.1f}"
    ]
