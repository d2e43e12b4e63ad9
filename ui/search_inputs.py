"""What the search asks for beside the sidebar: limits, hardware and formats, bound to the link."""

from dataclasses import dataclass

import streamlit as st
from pydantic import ValidationError

from planner.engines.registry import ENGINES
from planner.errors import PlanRefused
from planner.export import first_error
from planner.offer import Offer
from planner.search.space import (
    CACHES,
    IDEAL,
    RINGS,
    SERVING,
    USUAL_TPOT_S,
    USUAL_TTFT_P95_S,
    WEIGHTS,
    Space,
    Target,
)
from planner.timing.latency import Request
from planner.units import counted
from planner.workload import MAX_TOKENS
from presets.gpus import gpu_ids
from presets.offers import offers, own_price, unpriced
from ui.bound import BOUND, by_id, from_link, to_link
from ui.inputs import Chosen
from ui.options import gpu_label
from ui.whole import token_count

GPU_COUNTS = (1, 2, 4, 8, 16, 32)
ANSWER_TOKENS = 1024
ANY = "any"


@dataclass(frozen=True)
class Asked:
    """Everything a search is made from but the model. unpriced: GPUs that nobody gave a price."""

    target: Target
    space: Space
    offers: tuple[Offer, ...]
    unpriced: tuple[str, ...]


def choose(chosen: Chosen) -> Asked:
    """Draw the inputs and return what they and the sidebar say.

    The sidebar's context, users and formats are those to be served. Raises PlanRefused for what
    contradicts itself.
    """
    context, users = chosen.workload.context, chosen.workload.concurrency
    first, second, third = (st.columns(3) for _ in range(3))
    with first[0]:
        answer = _tokens("Answer tokens", "s_output", ANSWER_TOKENS, least=1)
    with first[1]:
        ttft = _limit("Time to first token, 95 % (s)", "s_ttft", USUAL_TTFT_P95_S, 0.1)
    with first[2]:
        most = st.selectbox(
            "GPUs, at most", GPU_COUNTS, index=GPU_COUNTS.index(16), key="s_gpus", **BOUND
        )
    with second[0]:
        cached = _tokens("Prompt tokens in the prefix cache", "s_cached", 0, least=0)
    with second[1]:
        tpot = _limit("Time per output token (ms)", "s_tpot", 1e3 * USUAL_TPOT_S, 1.0)
    with second[2]:
        own = st.text_input(
            "Your prices per GPU-hour",
            key="s_prices",
            placeholder="l4=0.50, t4=0.30",
            help="Id of a GPU, = and dollars; separate several by commas.",
            **BOUND,
        )
    with third[0]:
        by_id("s_engine", {name: ENGINES[name].label for name in SERVING})
        engine = st.selectbox(
            "Engine",
            (ANY, IDEAL, *SERVING),
            format_func=lambda name: ENGINES[name].label if name in ENGINES else name,
            key="s_engine",
            help="Whose memory rules hold: its share of the card, its pages and what it refuses. "
            "ideal: bytes alone.",
            **BOUND,
        )
    with third[1]:
        lossy = st.toggle(
            "Formats that lose precision too",
            key="s_lossy",
            help="FP8 and 4-bit weights and an FP8 cache, beside the formats in the sidebar.",
            **BOUND,
        )
        together = st.toggle(
            "Prompts and answers together",
            key="s_together",
            help="Leave out layouts that compute prompts on GPUs of their own.",
            **BOUND,
        )
    with third[2]:
        from_link("s_only", gpu_ids(), [])
        only = st.multiselect(
            "Only these GPUs",
            gpu_ids(),
            format_func=gpu_label,
            key="s_only",
            placeholder="all with a price",
        )
        to_link("s_only", [])
        market = st.toggle("Marketplace prices too", key="s_market", **BOUND)
    if context < 2:
        raise PlanRefused("a context of 1 token has no room for a prompt and an answer")
    if answer >= context:
        raise PlanRefused(
            f"{counted(answer, 'answer token')} leave no room for a prompt in a context of "
            f"{context:,}: ask for fewer, or choose a longer context in the sidebar"
        )
    st.caption(
        f"{counted(users, 'user')} of {counted(context, 'token')} each, as the sidebar says: "
        f"{context - answer:,} of prompt and {answer:,} of answer."
    )
    known = offers(only, own_usd=_prices(own), marketplace=market)
    if not known:
        raise PlanRefused(
            f"no price is known for {' or '.join(only)}: give yours per GPU-hour, or allow "
            "marketplace prices"
        )
    try:
        target = Target(
            request=Request(
                prompt_tokens=context - answer, output_tokens=answer, cached_tokens=cached
            ),
            concurrency=users,
            ttft_p95_s=ttft or None,
            tpot_s=tpot / 1e3 if tpot else None,
        )
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None
    weights, cache = (chosen.deployment.weights_dtype,), (chosen.deployment.kv_cache_dtype,)
    space = Space(
        max_gpus=most,
        engines=SERVING if engine == ANY else (engine or IDEAL,),
        rings=RINGS if engine == IDEAL else (1,),
        apart=not together,
        weights_dtypes=tuple(dict.fromkeys((*weights, *WEIGHTS))) if lossy else weights,
        kv_cache_dtypes=tuple(dict.fromkeys((*cache, *CACHES))) if lossy else cache,
    )
    return Asked(target, space, known, unpriced(only, known))


def _prices(text: str | None) -> dict[str, float]:
    return dict(own_price(part) for part in (text or "").split(",") if part.strip())


def _tokens(label: str, key: str, default: int, least: int) -> int:
    return token_count(label, key, least, MAX_TOKENS, default, **BOUND)


def _limit(label: str, key: str, default: float, step: float) -> float:
    found: float | None = st.number_input(
        label, 0.0, 1e6, default, step, key=key, help="0: no limit.", **BOUND
    )
    return found or 0.0
