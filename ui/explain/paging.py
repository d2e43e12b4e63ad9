"""Paging: blocks, tables, sharing, copy-on-write and fragmentation, on the kernels' allocator."""

import plotly.graph_objects as go
import streamlit as st

from planner.lessons.paging_walk import (
    Scene,
    blocks_for,
    fragmentation,
    sample_lengths,
    story,
)
from planner.plan import Plan
from planner.units import format_bytes, format_share, format_tokens
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, parts
from ui.tables import html_table
from ui.theme import dark
from validate.paged_blocks import empty_blocks

BLOCKS = 12
COLUMNS = 6
COLOURS = ("#e6f0fd", "#c3c9d2", "#8fbaf3", "#f0b476")
FREE, KEPT, OWNED, SHARED = range(4)


def show(plan: Plan) -> None:
    _story(plan)
    _waste(plan)


def _story(plan: Plan) -> None:
    parts.idea(
        "Blocks, tables and owners",
        "A sequence is a list of block numbers. Two sequences with the same beginning list the "
        "same blocks, and only one that writes into a shared block gets a copy.",
    )
    size = plan.deployment.block_size if plan.deployment.block_size <= 64 else 16
    scenes = story(empty_blocks(BLOCKS), size)
    number = st.slider("Event", 1, len(scenes), 4, key="event", **BOUND)
    scene = scenes[number - 1]
    st.markdown(f"**{number}. {scene.what}.** {scene.why}")
    saved = scene.references - scene.used
    entry = sum(t.bytes_per_entry // t.stride for t in plan.footprint.terms) * size
    parts.formula(
        f"In use: {scene.used} of {BLOCKS} blocks of {size} tokens; the tables name "
        f"{scene.references}, so sharing saves {saved}",
        f"In {plan.model.source} a block of {size} tokens is {format_bytes(entry)} over all "
        f"layers: {format_bytes(saved * entry)} saved",
    )
    rows = [
        [name, f"{scene.tokens[name]}", ", ".join(str(b) for b in blocks)]
        for name, blocks in scene.tables.items()
    ]
    table = html_table(
        ("Sequence", "Tokens", "Block table"), rows or [["none", "0", ""]], numeric=(1,)
    )
    alt = (
        f"{BLOCKS} blocks: {scene.used} in use, "
        f"{sum(1 for owners in scene.owners if owners > 1)} of them shared, "
        f"{len(scene.kept)} kept for their content."
    )
    parts.figure(_blocks(scene), "explain_blocks", alt, table)
    parts.note(
        "Orange: shared by the sequences named. Blue: of one sequence. Grey: nobody's, but its "
        "content can be found again. Pale: free. This is the allocator of the paged kernels."
    )


def _blocks(scene: Scene) -> go.Figure:
    state, words = [], []
    for block, owners in enumerate(scene.owners):
        kind = SHARED if owners > 1 else OWNED if owners else FREE
        if block in scene.kept:
            kind = KEPT
        names = [name for name, table in scene.tables.items() if block in table]
        state.append(kind)
        below = " ".join(names) or ("kept" if kind == KEPT else "free")
        words.append(f"<b>{block}</b><br>{below}")
    return charts.cells(
        [state[i : i + COLUMNS] for i in range(0, BLOCKS, COLUMNS)],
        [words[i : i + COLUMNS] for i in range(0, BLOCKS, COLUMNS)],
        COLOURS, ("", ""), dark=dark(), height=230,
        xaxis={"showticklabels": False}, yaxis={"showticklabels": False},
    )  # fmt: skip


def _waste(plan: Plan) -> None:
    parts.idea(
        "What is reserved and never written",
        "Reserving the longest length for everyone wastes most of it. Blocks on demand waste at "
        "most the empty end of each sequence's last block.",
    )
    a, b, c = st.columns(3)
    users = a.slider("Sequences", 1, 256, 64, key="crowd", **BOUND)
    longest = b.select_slider(
        "Longest length", tuple(2**e for e in range(9, 18)), 8192, format_func=short_tokens,
        key="longest", **BOUND,
    )  # fmt: skip
    size = c.select_slider(
        "Tokens in a block", (1, 8, 16, 32, 64, 128, 256, 512), 16, key="page", **BOUND
    )
    lengths = sample_lengths(users, longest)
    found = fragmentation(
        empty_blocks(blocks_for(lengths, size)), lengths, longest=longest, block_size=size
    )
    ways = {"whole lengths": found.contiguous, "blocks": found.paged}
    terms = plan.footprint.terms
    sizes = {
        "whole lengths": users * sum(term.bytes(longest) for term in terms),
        "blocks": sum(term.paged_bytes(n, size) for term in terms for n in lengths),
        "written": sum(term.bytes(n) for term in terms for n in lengths),
    }
    parts.formula(
        f"Written: {found.used:,} tokens, {found.used / users:,.0f} in the mean",
        f"Whole lengths: {users} × {longest:,} = {found.contiguous:,}, "
        f"{format_share(found.contiguous_waste, 1)} never written",
        f"Blocks: {found.paged // size:,} × {size} = {found.paged:,}, "
        f"{format_share(found.paged_waste, 1)} never written",
    )
    chart = charts.bars(
        list(ways),
        {
            "written": [found.used] * 2,
            "reserved and empty": [v - found.used for v in ways.values()],
        },
        "Places for tokens", dark=dark(), stacked=True,
        labels=[[f"{found.used:,}"] * 2, [f"{v - found.used:,}" for v in ways.values()]],
    )  # fmt: skip
    rows = [
        [
            name,
            format_tokens(held),
            format_bytes(sizes[name]),
            format_share(1 - found.used / held, 1),
        ]
        for name, held in ways.items()
    ]
    rows.append(["written", format_tokens(found.used), format_bytes(sizes["written"]), ""])
    table = html_table(("Reserved by", "Tokens", "In this model", "Empty"), rows, numeric=(1, 2, 3))
    alt = (
        f"Bars of places reserved for {users} sequences: by whole lengths {found.contiguous:,}, by "
        f"blocks {found.paged:,}, of which {found.used:,} are written."
    )
    parts.figure(chart, "explain_waste", alt, table)
    parts.note(
        "Lengths are drawn once and stay the same: most are short, few are long. Layers with a "
        "window keep no more than that in this model, however long a sequence is."
        if any(term.window for term in terms)
        else "Lengths are drawn once and stay the same: most are short, few are long."
    )
