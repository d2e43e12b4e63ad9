"""Prompts and answers on GPUs of their own."""

import pytest

from planner.search.candidates import candidate_cost
from planner.search.report import (
    name,
)
from planner.search.search import search
from planner.search.space import (
    Space,
    Target,
)
from planner.timing.disaggregation import disaggregate
from planner.timing.latency import Request
from presets.speed import speed_of
from tests.planner.models import preset
from tests.planner.search.cases import OFFERS


def test_apart_is_what_disaggregation_computes_for_the_same_pools() -> None:
    """Long prompts and short answers: prompts on GPUs of their own keep the TPOT."""
    heavy = Target(
        request=Request(prompt_tokens=12_000, output_tokens=200), concurrency=32, ttft_p95_s=6.0,
        tpot_s=0.03,
    )  # fmt: skip
    model = preset("llama-3.1-8b")
    space = Space(max_gpus=16, chunk_tokens=(8192,))
    together = search(model, OFFERS[:2], speed_of, heavy, space)
    found = search(model, OFFERS[:2], speed_of, heavy, space.model_copy(update={"apart": True}))
    pairs = [c for c in (*found.winners, *found.losers) if c.prompts is not None]
    assert pairs
    assert len(found.winners) + len(found.losers) == len(pairs) + len(together.winners) + len(
        together.losers
    )
    for pair in pairs:
        assert pair.prompts is not None
        one = pair.deployment.replace(data_parallel_size=1)
        same = disaggregate(
            model, pair.offer.gpu, pair.prompts, one, speed_of(pair.offer.gpu), heavy.request, 32
        )
        assert pair.gpus == pair.prompt_replicas * pair.prompts.gpus + pair.deployment.gpus
        assert pair.usd_per_hour == pytest.approx(pair.offer.usd_per_gpu_hour * pair.gpus)
        if same.decode_replicas == pair.deployment.data_parallel_size:
            assert pair.prompt_replicas == same.prefill_replicas
            assert pair.ttft_p95_s == pytest.approx(same.ttft_p95_s)
            assert pair.tpot_s == pytest.approx(same.tpot_s)
            assert pair.requests_per_s == pytest.approx(same.requests_per_s)
        bill = candidate_cost(pair, heavy)
        of_prompts = pair.offer.usd_per_gpu_hour * pair.prompt_replicas * pair.prompts.gpus
        prompts_an_hour = 3600 * (pair.requests_per_s or 0) * 12_000
        assert bill.usd_per_million_input_tokens == pytest.approx(
            1e6 * of_prompts / prompts_an_hour
        )
    assert "for prompts (tensor parallel" in name(pairs[0])
    winners = [pair for pair in pairs if pair.lost is None]
    assert winners
    assert all((w.ttft_p95_s or 9) <= 6 and (w.tpot_s or 9) <= 0.03 for w in winners)


def test_one_user_needs_no_gpus_for_prompts_alone() -> None:
    """30,000 + 10 tokens: TPOT was 121 ms on an H100 by the user's own prompt, 20 ms are asked."""
    one = Target(
        request=Request(prompt_tokens=30_000, output_tokens=10), concurrency=1, ttft_p95_s=2.0,
        tpot_s=0.02,
    )  # fmt: skip
    found = search(preset("llama-3.1-8b"), OFFERS[:2], speed_of, one, Space(max_gpus=4, apart=True))
    best = found.winners[0]
    assert best.gpus == 1
    assert best.prompts is None
    assert best.tpot_s == pytest.approx(best.step_s)
