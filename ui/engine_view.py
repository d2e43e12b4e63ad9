"""The engine's figure beside the ideal one: what it allocates, prints and needs to be started."""

from html import escape

import streamlit as st

from planner.engines.answer import doubt, lifted, room, serves, shorter, the_rest, too_few
from planner.engines.engine import EngineFigures
from planner.engines.gap import Gap, gap
from planner.engines.registry import ENGINES
from planner.plan import Plan
from planner.units import counted, format_bytes, format_tokens
from ui import drafting_view, engine_deploy, engine_log, summary
from ui.engine_bar import budget_table, engine_bar
from ui.engine_inputs import EngineChoice
from ui.inputs import Chosen
from ui.sentence import as_sentence
from ui.tables import html_table

WHISKER = (
    "Thick line: what the engine may use. Whisker: where the cache may begin, given the ranges "
    "below; it ends at the line."
)

GROWS = "transformers"
"""Keeps no pool: its cache grows with the batch, so that the tokens with room are more than it."""
LEFT_BY_A_REFUSAL = "What that leaves for the cache (short where negative)"


def show(chosen: Chosen, plan: Plan, choice: EngineChoice) -> None:
    """Everything about one engine's plan."""
    figures = choice.figures(chosen)
    label = ENGINES[choice.name].label
    st.caption(as_sentence(f"{summary.title(plan)}. {summary.subtitle(plan)}"))
    _verdict(figures, label, plan)
    if figures.refused is None:
        st.html(_key_figures(plan, figures))
    left, right = st.columns(2, gap="medium")
    with left:
        st.header("Memory of a GPU", anchor=False)
        st.markdown(engine_bar(figures, plan.gpu), unsafe_allow_html=True)
        st.caption(WHISKER if figures.kv_cache.is_range else "Thick line: what the engine may use.")
        st.html(budget_table(figures))
    with right:
        st.header("Ideal and engine", anchor=False)
        st.html(_gap_table(gap(plan, figures), figures))
        _notes(figures)
        _printed(figures, label)
    drafting_view.show(plan, figures, choice)
    st.header("Start it", anchor=False)
    language = "python" if choice.name == "transformers" else "bash"
    st.code(figures.start, language=language, wrap_lines=True)
    engine_deploy.show(chosen, plan, figures)
    engine_log.show(chosen, choice, figures)


def _verdict(figures: EngineFigures, label: str, plan: Plan) -> None:
    if figures.refused is not None:
        sentence = as_sentence(f"{label} {figures.version} would refuse: {figures.refused}")
        few = shorter(plan, figures) + too_few(plan, figures)
        works = f" {lifted(figures)}{few}." if figures.remedies else ""
        st.error(f"**{sentence}**{works}{doubt(figures)}{room(figures)}", icon=":material/cancel:")
        return
    longest = figures.settings.get("max_model_len")
    length = f" of {longest:,} tokens" if isinstance(longest, int) else ""
    served, wanted = serves(plan, figures), plan.workload.concurrency
    asked, context = plan.workload.context, figures.length_served(plan.workload.context)
    verb = "caches" if figures.name != GROWS else "has room to cache"
    beyond = "" if context == asked else f"; you asked for {format_tokens(asked)}"
    sentence = as_sentence(
        f"{label} {figures.version} {verb} {format_tokens(figures.kv_cache_tokens)} tokens: "
        f"{figures.max_concurrency:,.2f} sequences{length}, room for "
        f"{counted(served, 'user')} at {counted(context, 'token')}{beyond}"
    )
    if served >= wanted and not beyond:
        box, icon = (st.warning, "warning") if figures.doubtful else (st.success, "check_circle")
        box(f"**{sentence}**{doubt(figures)}", icon=f":material/{icon}:")
    else:
        more = ""
        if served < wanted:
            more = (
                f" {format_tokens(wanted)} asked for; {the_rest(served)}.{doubt(figures)}"
                f"{room(figures)}"
            )
        box, icon = (st.warning, "warning") if served else (st.error, "cancel")
        box(f"**{sentence}**{more}", icon=f":material/{icon}:")


def _key_figures(plan: Plan, figures: EngineFigures) -> str:
    cache = figures.kv_cache
    span = f"{format_bytes(cache.low_bytes)} to {format_bytes(cache.high_bytes)}"
    ideal = "no limit" if plan.max_concurrency is None else f"{plan.max_concurrency:,}"
    asked, length = plan.workload.context, figures.length_served(plan.workload.context)
    cut = length < asked
    at = f"of {length:,} tokens, its limit" if cut else "at your context"
    of_length = f"of {asked:,} tokens, " if cut else ""
    by_bytes = f"{of_length}all memory, no reserve{', no draft' if figures.drafts else ''}"
    chunk = plan.deployment.max_num_batched_tokens
    if chunk != figures.settings.get("max_num_batched_tokens"):
        by_bytes += f", passes of {chunk:,} tokens"
    found = (
        ("KV cache of a GPU", format_bytes(cache.bytes), span if cache.is_range else "exact"),
        ("Tokens in it" if figures.name != GROWS else "Tokens with room",
         format_tokens(figures.kv_cache_tokens), "" if figures.block_size == 1 else figures.blocks),
        ("Full-length sequences", f"{figures.max_concurrency:,.2f}",
         "as the engine prints it" if any("concurrency" in line for line in figures.log_lines)
         else "of the longest length"),
        ("Users, engine", f"{serves(plan, figures):,}", at),
        ("Users, ideal", ideal, by_bytes),
    )  # fmt: skip
    cells = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(note)}</small></dd></div>"
        for name, value, note in found
    )
    return f'<dl class="sz-kpis">{cells}</dl>'


def _gap_table(found: Gap, figures: EngineFigures) -> str:
    rows = [("What the card leaves for cache", format_bytes(found.ideal_bytes))]
    rows += [(name, format_bytes(-size)) for name, size in found.reasons]
    last = "What the engine gives the cache" if figures.refused is None else LEFT_BY_A_REFUSAL
    rows.append((last, format_bytes(found.engine_bytes)))
    return html_table(("On the fullest GPU", "Size"), rows, numeric=(1,), strong=(0, len(rows) - 1))


def _notes(figures: EngineFigures) -> None:
    if figures.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in figures.notes)
        st.html(f'<ul class="sz-note">{items}</ul>')


def _printed(figures: EngineFigures, label: str) -> None:
    if not figures.log_lines:
        return
    st.header(f"What {label} will print", anchor=False)
    st.code("\n".join(figures.log_lines), language=None, wrap_lines=True)
