"""An engine's own rules in a search: what it admits, and its figures asked alone."""

from typing import Any

import pytest

from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.search.engine import engine_figures
from planner.search.report import (
    why,
)
from planner.search.search import search
from planner.search.space import (
    IDEAL,
    SERVING,
    Space,
)
from planner.timing.latency import Request
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.models import preset
from tests.planner.search.cases import OFFERS, TARGET


def test_an_engine_admits_less_than_plain_bytes_and_says_so() -> None:
    """Engines keep a part of the card for themselves; times are the same."""
    model, config = preset("llama-3.1-8b"), load_model_config("llama-3.1-8b")
    free = TARGET.model_copy(update={"ttft_p95_s": None, "tpot_s": None, "concurrency": 90})
    space = Space(max_gpus=1, engines=(IDEAL, *SERVING))
    found = search(model, OFFERS, speed_of, free, space, config=config)
    by_engine = {(c.engine, c.offer.gpu.id): c for c in (*found.winners, *found.losers)}
    for gpu_id in ("h100-sxm5-80gb", "h200-sxm-141gb"):
        plain = by_engine[IDEAL, gpu_id]
        for engine in SERVING[:3]:
            mine = by_engine[engine, gpu_id]
            assert mine.budget_bytes < plain.budget_bytes
            if mine.tpot_s and plain.tpot_s and mine.deployment == plain.deployment:
                assert mine.tpot_s == plain.tpot_s
    lost = [c for c in found.losers if c.engine == "vllm" and c.lost == "memory"]
    assert lost
    for candidate in lost:
        assert candidate.admitted < 90
        assert f"it runs {candidate.admitted:,} of 90 sequences at once" in why(candidate, free)


def test_times_are_without_windows_where_an_engine_has_none() -> None:
    """llama.cpp reads Phi-3's file without its window of 2,047 tokens: its times are those of a
    configuration that has none, vLLM's those of the published one."""
    published = load_model_config("phi-3-mini-4k-instruct")
    target = TARGET.model_copy(
        update={"request": Request(prompt_tokens=3500, output_tokens=500), "concurrency": 8,
                "ttft_p95_s": None, "tpot_s": None}
    )  # fmt: skip

    def times(config: dict[str, Any], engine: str) -> tuple[float, float]:
        space = Space(max_gpus=1, engines=("vllm", "llama.cpp"), chunk_tokens=(2048,))
        found = search(parse(config), OFFERS[:1], speed_of, target, space, config=config)
        (one,) = (c for c in found.winners if c.engine == engine)
        assert one.ttft_s
        assert one.tpot_s
        return one.ttft_s, one.tpot_s

    whole = {**published, "sliding_window": None}
    assert times(published, "llama.cpp") == times(whole, "llama.cpp") == times(whole, "vllm")
    assert times(published, "vllm")[1] < times(published, "llama.cpp")[1]


def test_the_engines_figures_of_a_winner_agree() -> None:
    model, config = preset("llama-3.1-8b"), load_model_config("llama-3.1-8b")
    space = Space(max_gpus=2, engines=SERVING)
    found = search(model, OFFERS, speed_of, TARGET, space, config=config)
    seen = set()
    for winner in found.winners:
        figures = engine_figures(winner, TARGET, model, config=config, name="a/b")
        assert figures is not None
        assert figures.refused is None
        assert figures.requests >= TARGET.concurrency / winner.deployment.data_parallel_size
        seen.add(figures.name)
    assert seen == set(SERVING)


def test_positions_are_noted_or_refused() -> None:
    far = TARGET.model_copy(update={"request": Request(prompt_tokens=200_000)})
    found = search(preset("llama-3.1-8b"), OFFERS[:2], speed_of, far, Space(max_gpus=1))
    assert "131,072 positions" in (found.note or "")
    with pytest.raises(PlanRefused, match="1,024 positions"):
        search(preset("gpt2-medium"), OFFERS[:1], speed_of, TARGET, Space(max_gpus=1))
