"""Positions: how fast pairs of dimensions turn, how scaling slows them, and ALiBi's penalty."""

from math import inf, isfinite, nan

import streamlit as st

from planner.errors import PlanRefused
from planner.kinds.attention import Attention, LatentAttention
from planner.lessons.alibi import reach_of, slopes
from planner.lessons.stretched import Stretched, is_scaled, rows_to_show, stretched
from planner.plan import Plan
from planner.positions import reach
from planner.rope.extension import LABELS
from planner.rope.published import claims
from planner.rope.words import headline, lines
from planner.units import format_tokens
from ui.bound import BOUND
from ui.capacity_map import short_tokens
from ui.explain import charts, parts
from ui.sentence import as_sentence
from ui.tables import html_table
from ui.theme import dark

FACTORS = (2, 4, 8, 16, 32, 64)
OWN = {
    **LABELS,
    "longrope": "LongRoPE",
    "llama3": "Llama 3's scaling",
    "proportional": "a part of the pairs only",
}
PAPERS = (
    "RoPE: Su et al. 2021 (arXiv 2104.09864). Position interpolation: Chen et al. 2023 (2306.15595)"
    ". YaRN: Peng et al. 2023 (2309.00071). LongRoPE: Ding et al. 2024 (2402.13753), whose factors "
    "come from a search on the model: 8 times without fine-tuning and 2,048k tokens with up to "
    "1,000 steps, says its abstract."
)
DISTANCES = tuple(2 ** (e / 4) for e in range(57))
HEADS_WITHOUT = 32


def show(plan: Plan) -> None:
    parts.idea(
        "Every pair of dimensions turns at its own speed",
        "Rotary positions turn pairs of a head's dimensions by an angle that grows with the "
        "position. Fast pairs have seen every angle; a slow pair that never came round in training "
        "meets new ones beyond the trained length. Slowed down, it meets none there either.",
    )
    _rotary(plan)
    _alibi(plan)


def _rotary(plan: Plan) -> None:
    factor, method = 4, "yarn"
    if not is_scaled(plan.model):
        a, b = st.columns(2)
        factor = a.select_slider("Times the stated length", FACTORS, 4, key="stretch", **BOUND)
        method = b.segmented_control(
            "Scaling", tuple(LABELS), default="yarn", key="scaling", required=True,
            format_func=lambda name: as_sentence(LABELS[name]).rstrip("."), **BOUND,
        )  # fmt: skip
    try:
        found = stretched(plan.model, factor, method)
    except PlanRefused as why:
        st.info(as_sentence(str(why)), icon=":material/info:")
        return
    parts.formula(*_said(plan, found))
    chart = charts.lines(
        list(range(len(found.before.radians))),
        _rows(found),
        ("Pair of dimensions", "Tokens of a whole turn"),
        dark=dark(),
        yaxis={"type": "log", "exponentformat": "power", "dtick": 1},
    )
    head = ("Pair", "A turn before", "After", "Slower")
    slowed = found.slowed
    rows = [
        [str(i), _turn(found.before.wavelengths[i]), _turn(found.after.wavelengths[i]),
         f"{slowed[i]:.3g}×"]
        for i in rows_to_show(found)
    ]  # fmt: skip
    alt = (
        f"Tokens of a whole turn of {len(slowed)} pairs of dimensions before and after scaling, "
        "on a logarithmic axis, with the trained and the new length."
    )
    parts.figure(chart, "explain_positions", alt, html_table(head, rows, numeric=(1, 2, 3)))
    if found.extension is not None:
        parts.note(" ".join(claims(found.extension)))
        parts.note(
            "A plan whose context is beyond the stated length carries these parameters in its "
            "engine's command; the memory of that context is the plan's own."
        )
    else:
        parts.note(as_sentence(f"{reach(plan.model).sentence} A second scaling on top of it is "
                               "not published"))  # fmt: skip
    parts.note(PAPERS)


def _rows(found: Stretched) -> dict[str, list[float]]:
    rows = {
        name: [w if isfinite(w) else nan for w in turned.wavelengths]
        for name, turned in (("before", found.before), ("after", found.after))
    }
    first = "trained" if found.extension is None else "stated"
    for tokens, name in ((found.trained_tokens, first), (found.reached_tokens, "reached")):
        if tokens is not None:
            rows[f"{name}: {short_tokens(tokens)} tokens"] = [float(tokens)] * len(found.slowed)
    return rows


def _said(plan: Plan, found: Stretched) -> tuple[str, ...]:
    theta = (plan.model.rope or {}).get("rope_theta", 0)
    pair = f"Pair i turns by {theta:,.0f}^(-2i/{found.width}) radians a token"
    if found.trained_tokens is not None:
        trained = format_tokens(found.trained_tokens)
        pair += (
            f": {found.unseen} of {len(found.slowed)} pairs do not come round within {trained} "
            "tokens"
        )
    if found.extension is not None:
        named = (f"{name}: {text}" for name, text in lines(found.extension))
        return (pair, as_sentence(headline(found.extension)), *named)
    factor = found.after.attention_factor
    return (
        pair,
        f"The configuration's own: {OWN[found.method]}, pairs turn {min(found.slowed):.3g} to "
        f"{max(found.slowed):.3g} times slower",
        "Scores as before"
        if factor == 1
        else f"Cosines and sines times {factor:.4f}, scores times {factor**2:.4f}",
    )


def _turn(tokens: float) -> str:
    if tokens == inf:
        return "never"
    return f"{tokens:,.4g}" if tokens < 100 else f"{tokens:,.0f}"


def _alibi(plan: Plan) -> None:
    mixers = [m for group in plan.model.groups for m in group.mixers]
    heads = next(
        (m.num_attention_heads for m in mixers if isinstance(m, Attention | LatentAttention)),
        HEADS_WITHOUT,
    )
    found = slopes(heads)
    steepest, flattest = max(found), min(found)
    order = sorted(range(heads), key=lambda i: -found[i])
    shown = tuple(dict.fromkeys(order[i] for i in (0, heads // 4, heads // 2, heads - 1)))
    parts.idea(
        "ALiBi: farther is worth less",
        "Without any positions, each head takes a fixed amount off a score for every token of "
        "distance. Nothing ends at a length, but steep heads soon see nothing far away.",
    )
    parts.formula(
        f"{heads} heads, slopes 1 / {1 / steepest:,.4g} to 1 / {1 / flattest:,.4g}: score minus "
        "slope × distance, then softmax",
        "A penalty of 10 leaves a weight of exp(-10) = 1 / 22,026: after "
        f"{reach_of(steepest):,.0f} tokens in the steepest head, {reach_of(flattest):,.0f} in "
        "the flattest",
    )
    rows = {f"head {i + 1}": [-found[i] * d for d in DISTANCES] for i in shown}
    chart = charts.lines(
        list(DISTANCES), rows, ("Tokens of distance", "Added to the score"), dark=dark(),
        xaxis={"type": "log", "dtick": 1, "exponentformat": "power"},
        yaxis={"range": [-20, 1]},
    )  # fmt: skip
    table = html_table(
        ("Head", "Slope", "At 1,024 tokens", "A penalty of 10 at"),
        [[str(i + 1), f"{found[i]:.4g}", f"{-1024 * found[i]:,.4g}", f"{reach_of(found[i]):,.0f}"]
         for i in shown],
        numeric=(1, 2, 3),
    )  # fmt: skip
    alt = f"What {len(shown)} of {heads} heads take off a score by distance."
    parts.figure(chart, "explain_alibi", alt, table)
    own = " This model is one." if reach(plan.model).method == "alibi" else ""
    parts.note(
        "Press et al. 2021 (arXiv 2108.12409) show twice the trained length without loss. A model "
        f"must be trained that way: scaling makes none.{own}"
    )
