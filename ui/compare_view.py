"""The Compare page: one question, a bar per answer, a table, and lines where length matters."""

from collections.abc import Callable, Sequence

import streamlit as st

from planner.plan import Plan
from ui import alternative_times, alternatives, figures, kept, options, summary, theme
from ui.alternatives import Alternative
from ui.bound import from_link, to_link
from ui.memory_bar import bar_alt, memory_bar
from ui.sentence import as_sentence
from ui.tables import legend

QUESTIONS = ("Attention", "KV cache", "Weights", "GPUs", "Models", "Kept plans")
KV = ("auto", "fp8", "int8_per_token_head", "nvfp4", "int4_per_token_head")
WEIGHTS = ("auto", "fp8", "int8", "int4", "nvfp4", "q4_k_m")
GPUS = ("rtx-4090", "l40s", "a100-sxm4-80gb", "h100-sxm5-80gb", "h200-sxm-141gb", "mi300x")
MODELS = ("llama-3.1-8b", "qwen3-8b", "gemma-3-27b-it", "gpt-oss-20b")
MOST = 8


def show(plan: Plan) -> None:
    """The chosen comparison of `plan`."""
    st.title("Compare", anchor=False)
    question = st.segmented_control(
        "What to change", QUESTIONS, default="Attention", key="by", required=True,
        bind="query-params",
    )  # fmt: skip
    if question == "Kept plans":
        _kept()
        return
    st.caption(
        "Everything else stays as chosen in the sidebar: "
        + as_sentence(f"{summary.title(plan)}. {summary.subtitle(plan)}")
    )
    if question == "Attention":
        _attention(plan)
    elif question == "KV cache":
        names = _pick("KV cache formats", "kvs", options.kv_options(), KV)
        found = alternatives.kv_formats(plan, names)
        _answers(found, "KV cache")
        _times(plan, found, "KV cache")
    elif question == "Weights":
        names = _pick("Weight formats", "formats", options.weight_options(), WEIGHTS)
        found = alternatives.weight_formats(plan, names)
        _answers(found, "Weights")
        _times(plan, found, "Weights")
    elif question == "GPUs":
        names = _pick("GPUs", "cards", options.gpu_options()[:-1], GPUS, options.gpu_label)
        found = alternatives.gpus(plan, names)
        _answers(found, "GPU")
        if listed := alternatives.prices(found):
            dollars = listed.replace("$", r"\$")  # two of them would set what is between as formula
            st.caption(f"Prices are dated list prices on demand, by whole lots: {dollars}.")
        _times(plan, found, "GPU")
    else:
        names = _pick("Models", "models", tuple(options.model_names()), MODELS, options.model_label)
        found = alternatives.models(plan, names)
        _answers(found, "Model")
        _times(plan, found, "Model")


def _pick(
    label: str,
    key: str,
    known: tuple[str, ...],
    default: tuple[str, ...],
    named: Callable[[str], str] = str,
) -> list[str]:
    """Some of `known`, shown by other names."""
    usual = [name for name in default if name in known]
    from_link(key, known, usual, MOST)
    names = st.multiselect(label, known, format_func=named, key=key, max_selections=MOST)
    to_link(key, usual)
    return names


def _attention(plan: Plan) -> None:
    same = st.toggle(
        "Same parameters", key="same", bind="query-params",
        help="Feed-forward layers become wider or narrower, in multiples of 128 and experts in "
        "multiples of 16, until every form has about as many parameters as the published model.",
    )  # fmt: skip
    found = alternatives.attentions(plan, same_parameters=same)
    _answers(found, "Attention")
    changes = "Attention and the width of feed-forward layers change"
    st.caption(
        f"{changes if same else 'Only attention changes'}; a model would have to be trained that "
        "way. " + " ".join(f"{a.name}: {a.note}." for a in found)
    )
    st.header("Cache of one sequence by length", anchor=False)
    names = [a.name for a in found if a.plan is not None]
    st.plotly_chart(
        figures.cache_lines(
            names,
            alternatives.CONTEXTS,
            alternatives.cache_sizes(found, alternatives.CONTEXTS),
            dark=theme.dark(),
        ),
        key="cache_lines",
        config=figures.CONFIG,
        alt="Lines of cache size against context for each attention; the table below has the "
        "same numbers.",
    )
    st.html(alternatives.cache_table(found))


def _answers(found: Sequence[Alternative], first: str) -> None:
    bars = alternatives.bars(found)
    if bars:
        st.markdown(memory_bar(bars, bar_alt(bars)), unsafe_allow_html=True)
        st.html(legend())
        st.caption(
            "One bar per choice, the fullest GPU of each. Thick line: what a program can "
            "allocate. Whisker: the estimates' ranges."
        )
    if found:
        st.html(alternatives.table(found, first))
    else:
        st.info("Choose at least one.")


def _times(plan: Plan, found: Sequence[Alternative], first: str) -> None:
    rows, untimed = alternative_times.table(found, first)
    if rows or untimed:
        st.header("Speed and cost (estimate)", anchor=False)
    if rows:
        st.html(rows)
        st.caption(alternative_times.caption(plan).replace("$", r"\$"))
    for sentence in untimed:
        st.caption(as_sentence(sentence))


def _kept() -> None:
    plans = kept.plans()
    if not plans:
        st.info("No plan is kept yet: press 'Keep for comparison' on the Plan page.")
        return
    names = kept.names(plans)
    found = [
        Alternative(name, summary.subtitle(p), p) for name, p in zip(names, plans, strict=True)
    ]
    _answers(found, "Plan")
    st.html(alternatives.notes(found))
    st.caption(kept.until())
    st.button("Forget all kept plans", on_click=kept.forget)
