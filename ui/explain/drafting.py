"""Drafting: cheap tokens proposed, all checked in one pass; what that gives, and when it loses."""

from collections.abc import Mapping

import streamlit as st

from planner.guide.drafted import followed
from planner.model import Model
from planner.parameters import count
from planner.plan import Plan
from planner.timing.drafting import Drafter, counts, drafter_for, gains, loses_from, speculated
from planner.timing.latency import Latency
from planner.timing.lookahead import Lookahead, needed, pass_s
from planner.timing.speculation import ASSUMED, tokens_per_step
from planner.units import counted
from presets.models import all_names
from ui import drafting_view
from ui.bound import BOUND
from ui.explain import charts, parts
from ui.model_source import from_preset
from ui.tables import html_table
from ui.theme import dark

MOST_TOKENS, TYPICAL = 8, range(3, 6)
CLAIMED = {
    "EAGLE-like": "2 to 3 × (EAGLE-2)", "Medusa": "2 to 3 ×",
    "Draft model": "2 to 4 × on consumer hardware",
}  # fmt: skip
"""KV Cache, Flash Attention & Inference Optimization (course lesson), with k = 3 to 5."""
LOOKAHEAD = {
    "TensorRT-LLM's defaults": Lookahead(4, 3, 4), "Reference code": Lookahead(7, 5, 7),
    "llama.cpp's example": Lookahead(15, 5, 15),
}  # fmt: skip
"""Settings as published: LookaheadDecodingConfig, hao-ai-lab/LookaheadDecoding, lookahead.cpp."""


def show(plan: Plan) -> None:
    now = drafting_view.times_of(plan, 1)
    a, b = st.columns(2)
    acceptance = a.slider("Acceptance of a draft token", 0.0, 1.0, 0.7, 0.05, key="accepted",
                          **BOUND)  # fmt: skip
    k = b.slider("Draft tokens a step", 1, MOST_TOKENS, 4, key="drafts", **BOUND)
    drafters = _drafters(plan.model, k)
    _by_tokens(plan, now, acceptance, k)
    _by_users(plan, now, drafters, acceptance, k)
    _lookahead(plan, now)


def _drafters(model: Model, k: int) -> dict[str, Drafter]:
    found = {
        "n-gram": drafter_for(model, "ngram"),
        "EAGLE-like": drafter_for(model, "eagle"),
        "Medusa": drafter_for(model, "medusa", None, k),
    }
    if model.mtp:
        found["MTP"] = drafter_for(model, "mtp")
    if small := _smaller(model):
        found["Draft model"] = drafter_for(model, "draft_model", from_preset(small).model)
    return found


def _by_tokens(plan: Plan, now: Latency, acceptance: float, k: int) -> None:
    parts.idea(
        "One pass checks many tokens",
        "A step of one user waits for the weights, and checking k + 1 tokens reads them once. A "
        "token counts if all before it were accepted, so that each one more gives less, and costs "
        "as much to draft.",
    )
    tokens = tokens_per_step(acceptance, k)
    found = speculated(now, plan.model, drafter_for(plan.model, "eagle"), k, acceptance)
    check = found.step_s - found.draft_s
    powers = " + ".join(f"{acceptance:g}^{i}" for i in range(1, min(k, 3) + 1))
    parts.formula(
        f"Tokens a step: 1 + {powers}{' + ...' if k > 3 else ''} = {tokens:.2f} for k = {k}",
        f"EAGLE-like, one user: ({parts.seconds(check)} to check + {parts.seconds(found.draft_s)} "
        f"to draft) / {tokens:.2f} = {parts.seconds(found.tpot_s)} a token, and without a draft "
        f"{parts.seconds(now.tpot.seconds)}: {found.speedup:.2f} times as fast",
    )
    x = list(range(MOST_TOKENS + 1))
    lines = {
        name: [speculated(now, plan.model, of(n), n, acceptance).speedup for n in x]
        for name, of in _by_count(plan.model).items()
    }
    chart = charts.lines(
        x, lines, ("Draft tokens a step, k", "Times as fast, one user"), dark=dark(),
        yaxis={"rangemode": "tozero"},
    )  # fmt: skip
    rows = [
        (name, *(f"{row[n]:.2f}" for n in TYPICAL), f"{row.index(max(row))}, {max(row):.2f}",
         CLAIMED.get(name, "–"))
        for name, row in lines.items()
    ]  # fmt: skip
    head = ("Drafter", *(f"k = {n}" for n in TYPICAL), "Best k", "Claimed")
    alt = "Gain of one user by draft tokens a step: " + "; ".join(
        f"{name} at best {max(row):.2f} times with {row.index(max(row))}"
        for name, row in lines.items()
    )
    parts.figure(
        chart, "explain_drafts", f"{alt}.", html_table(head, rows, numeric=range(1, 5)), below=True
    )
    small = _smaller(plan.model)
    whose = f"The draft model is {small}, the smallest preset of the same vocabulary. "
    parts.note(
        f"{whose if small else ''}The {ASSUMED}. Drafts are chains, as vLLM runs them; EAGLE-2 and "
        "Medusa as published check a tree, which has more accepted and more to check. n-grams take "
        "the GPU no time and give nothing where an answer repeats nothing. Claims: "
        "KV Cache, Flash Attention & Inference Optimization (course lesson)."
    )


def _by_count(model: Model) -> Mapping[str, "_ByCount"]:
    return {name: _ByCount(model, name) for name in _drafters(model, 1)}


class _ByCount:
    """A drafter as it is for a number of tokens: Medusa has a head for each."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name

    def __call__(self, tokens: int) -> Drafter:
        return _drafters(self.model, max(1, tokens))[self.name]


def _by_users(
    plan: Plan, now: Latency, drafters: Mapping[str, Drafter], acceptance: float, k: int
) -> None:
    parts.idea(
        "The gain falls with the batch, unless the cache is what is read",
        "Arithmetic is free while a step waits for memory. Many users fill it with tokens of their "
        "own, and then every rejected draft is paid for. Long contexts keep a step waiting: their "
        "cache is read once for all the tokens that are checked.",
    )
    most, held = followed(plan.max_concurrency)
    lines = {
        name: gains(now, plan.model, drafter, k, acceptance, counts(most))
        for name, drafter in drafters.items()
    }
    lost = {
        name: loses_from(now, plan.model, drafter, k, acceptance, most)
        for name, drafter in drafters.items()
    }
    parts.formula(
        f"k = {k}, acceptance {acceptance:g}, up to {held}: "
        + ", ".join(
            f"{name} {'never loses' if n is None else f'loses from {n:,}'}"
            for name, n in lost.items()
        )
    )
    few = sorted({counts(most)[round(i * (len(counts(most)) - 1) / 3)] for i in range(4)})
    rows = [
        (name, *(f"{of[n].speedup:.2f}" for n in few), "–" if lost[name] is None else
         f"{lost[name]:,}")
        for name, of in lines.items()
    ]  # fmt: skip
    head = ("Drafter", *(counted(n, "user") for n in few), "Loses from")
    alt = "Gain by number of users: " + "; ".join(
        f"{name} {of[1].speedup:.2f} with one, {of[most].speedup:.2f} with {most:,}"
        for name, of in lines.items()
    )
    parts.figure(
        drafting_view.gain_by_users(lines), "explain_drafts_users", f"{alt}.",
        html_table(head, rows, numeric=range(1, len(head))), below=True,
    )  # fmt: skip
    parts.note(
        f"Steps at {now.request.mean_context:,} tokens of context on average, without prompts "
        "beside them; a draft's own memory is not taken off (the Engine page does)."
    )


def _lookahead(plan: Plan, now: Latency) -> None:
    parts.idea(
        "A model that drafts for itself pays in wide passes",
        "Lookahead decoding guesses many places at once by Jacobi iteration and checks n-grams of "
        "its earlier guesses in the same pass. Nothing is trained or loaded, and it is free as "
        "long as a step waits for memory.",
    )
    users = counts(min(64, plan.max_concurrency or 1))
    few = sorted({users[round(i * (len(users) - 1) / 3)] for i in range(4)})
    wide = LOOKAHEAD["llama.cpp's example"]
    parts.formula(
        f"W = {wide.window}, N = {wide.ngram}, G = {wide.candidates}: ({wide.window} + "
        f"{wide.candidates}) × ({wide.ngram} − 1) = {wide.tokens} tokens in each pass",
        f"One user: {parts.seconds(pass_s(now, plan.model, wide.tokens, 1))} instead of "
        f"{parts.seconds(pass_s(now, plan.model, 1, 1))}, so a pass must yield "
        f"{needed(now, plan.model, wide, 1):.2f} tokens to gain",
    )
    rows = [
        (f"{name}: {look.window}, {look.ngram}, {look.candidates}", f"{look.tokens}",
         *(_wanted(needed(now, plan.model, look, n), look) for n in few))
        for name, look in LOOKAHEAD.items()
    ]  # fmt: skip
    head = ("W, N, G", "Tokens a pass", *(counted(n, "user") for n in few))
    st.html(html_table(head, rows, numeric=range(1, len(head))))
    parts.note(
        "Tokens that a pass must yield on average; it yields N at the most. Published gains are "
        "1.5 to 2.3 × for one user (Fu et al. 2024). vLLM does not offer it."
    )


def _wanted(tokens: float, look: Lookahead) -> str:
    return f"{tokens:.2f}" if tokens <= look.most else f"{tokens:.1f} > {look.most}"


@st.cache_data(max_entries=64)
def _small_presets() -> tuple[tuple[str, int, int], ...]:
    """(id, vocabulary, parameters) of every preset that is no alias."""
    found = []
    for name in all_names():
        if name.alias_of is None:
            model = from_preset(name.id).model
            found.append((name.id, model.vocab_size, count(model).total))
    return tuple(found)


def _smaller(model: Model) -> str | None:
    """The smallest preset of the same vocabulary, a quarter of the model at most."""
    most = count(model).total / 4
    fits = [(size, name) for name, vocab, size in _small_presets()
            if vocab == model.vocab_size and size <= most]  # fmt: skip
    return min(fits)[1] if fits else None
