"""What the search asks for: the load, the limits and the choice of hardware, bound to the link."""

from dataclasses import dataclass
from typing import Any

import streamlit as st

from planner.latency import Request
from planner.search_space import Offer, Space, Target
from presets.offers import offers

BOUND: dict[str, Any] = {"bind": "query-params"}
GPU_COUNTS = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Asked:
    """Everything a search is made from but the model."""

    target: Target
    space: Space
    offers: tuple[Offer, ...]


def choose() -> Asked:
    """Draw the inputs and return what they say."""
    load, limits, hardware = st.columns(3)
    with load:
        prompt = _count("Prompt tokens", "s_prompt", 8192)
        output = _count("Answer tokens", "s_output", 1024)
        users = _count("Users at once", "s_users", 50, most=100_000)
    with limits:
        ttft = _limit("Time to first token, 95 % (s)", "s_ttft", 2.0, 0.1)
        tpot = _limit("Time per output token (ms)", "s_tpot", 40.0, 1.0)
        cached = st.number_input(
            "Prompt tokens in the prefix cache", 0, prompt, 0, key="s_cached", **BOUND
        )
    with hardware:
        most = st.selectbox(
            "At most so many GPUs", GPU_COUNTS, index=GPU_COUNTS.index(16), key="s_gpus", **BOUND
        )
        full = st.toggle(
            "Only the model's own formats",
            key="s_full",
            help="Leave weights and cache as published; else FP8 and 4-bit are tried too.",
            **BOUND,
        )
        market = st.toggle("Marketplace prices too", key="s_market", **BOUND)
    request = Request(
        prompt_tokens=prompt, output_tokens=output, cached_tokens=min(cached, prompt - 1)
    )
    target = Target(
        request=request,
        concurrency=users,
        ttft_p95_s=ttft or None,
        tpot_s=tpot / 1e3 if tpot else None,
    )
    own = {"weights_dtypes": ("auto",), "kv_cache_dtypes": ("auto",)} if full else {}
    return Asked(target, Space(max_gpus=most, **own), offers(marketplace=market))


def _count(label: str, key: str, default: int, most: int = 2**20) -> int:
    return int(st.number_input(label, 1, most, default, key=key, **BOUND))


def _limit(label: str, key: str, default: float, step: float) -> float:
    found: float | None = st.number_input(
        label, 0.0, 1e6, default, step, key=key, help="0: no limit.", **BOUND
    )
    return found or 0.0
