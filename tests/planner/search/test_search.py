"""What a search finds: who wins, in which order, and what the others miss."""

from dataclasses import replace

import pytest

from planner.errors import PlanRefused
from planner.offer import Offer
from planner.plan import make_plan
from planner.search.candidates import Candidate, Found
from planner.search.data import as_data
from planner.search.report import (
    headline,
    limits,
    name,
    next_quality,
    prices,
    users,
    why,
)
from planner.search.search import search
from planner.search.space import (
    SERVING,
    Space,
    Target,
)
from planner.timing.latency import Request, latency
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.models import preset
from tests.planner.search.cases import ALL, IDS, OFFERS, TARGET


@pytest.fixture(scope="module")
def found() -> Found:
    return search(preset("llama-3.1-70b"), OFFERS, speed_of, TARGET, Space(max_gpus=8, **ALL))


def test_winners_meet_the_target_and_are_ranked_by_cost(found: Found) -> None:
    assert found.winners
    costs = [winner.usd_per_hour for winner in found.winners]
    assert costs == sorted(costs)
    for winner in found.winners:
        assert winner.headroom_bytes >= 0
        assert (winner.ttft_p95_s or 9) <= 2.0
        assert (winner.tpot_s or 9) <= 0.05
        assert winner.users >= TARGET.concurrency


def test_a_winner_checked_alone(found: Found) -> None:
    best = found.winners[0]
    model = preset("llama-3.1-70b")
    work = Workload(context=TARGET.request.context, concurrency=TARGET.concurrency)
    plan = make_plan(model, best.offer.gpu, best.deployment, work)
    assert plan.fits
    assert plan.headroom_bytes == best.headroom_bytes
    one = latency(
        model, best.offer.gpu, best.deployment, speed_of(best.offer.gpu), TARGET.request, 24
    )
    assert one.load.tpot_s == pytest.approx(best.tpot_s)


def test_losers_say_what_they_miss(found: Found) -> None:
    figures = {
        "ttft": lambda c: c.ttft_p95_s / 2.0,
        "tpot": lambda c: c.tpot_s / 0.05,
        "memory": lambda c: c.total_bytes / c.offer.gpu.memory_bytes,
    }
    assert {loser.lost for loser in found.losers} == set(figures)
    for loser in found.losers:
        assert figures[loser.lost](loser) > 1
        assert loser.excess >= figures[loser.lost](loser) - 1e-12
    slow = [loser for loser in found.losers if loser.lost != "memory"]
    excess = [loser.excess for loser in slow]
    assert excess == sorted(excess)
    # Those that memory does not hold come after, by memory alone: their times mean nothing.
    full = found.losers[len(slow) :]
    assert {loser.lost for loser in full} == {"memory"}
    missing = [loser.total_bytes / loser.budget_bytes for loser in full]
    assert missing == sorted(missing)


def test_the_frontier_is_what_nothing_beats(found: Found) -> None:
    def beats(a: Candidate, b: Candidate) -> bool:
        mine = (a.usd_per_hour, a.tpot_s, -a.users)
        other = (b.usd_per_hour, b.tpot_s, -b.users)
        return all(x <= y for x, y in zip(mine, other, strict=True)) and mine != other

    for kept in found.frontier:
        assert not any(beats(other, kept) for other in found.winners)
    for winner in found.winners:
        same_or_better = [
            k for k in found.frontier
            if (k.usd_per_hour, k.tpot_s, -k.users) == (winner.usd_per_hour, winner.tpot_s,
                                                       -winner.users) or beats(k, winner)
        ]  # fmt: skip
        assert same_or_better


def test_better_formats_cost_at_least_as_much(found: Found) -> None:
    steps = found.quality_steps
    kept = {(c.deployment.weights_dtype, c.deployment.kv_cache_dtype) for c in steps}
    assert len(kept) == len(steps)
    assert all(step.usd_per_hour >= steps[0].usd_per_hour for step in steps)


def test_more_users_or_less_time_never_cost_less() -> None:
    model, space = preset("llama-3.1-8b"), Space(max_gpus=4, **ALL)

    def dollars(**changes: object) -> float:
        target = TARGET.model_copy(update=changes)
        return search(model, OFFERS, speed_of, target, space).winners[0].usd_per_hour

    base = dollars()
    assert dollars(concurrency=96) >= base
    assert dollars(tpot_s=0.012) >= base
    assert dollars(ttft_p95_s=None, tpot_s=None) <= base


def test_lots_are_paid_in_full() -> None:
    whole = Offer(gpu=load_gpu(IDS[0]), usd_per_gpu_hour=2.0, lot=8)
    assert whole.usd_per_hour(1) == 16
    assert whole.usd_per_hour(9) == 32


def test_nothing_possible_names_the_nearest() -> None:
    tight = TARGET.model_copy(update={"tpot_s": 1e-6})
    found = search(preset("llama-3.1-8b"), OFFERS[:2], speed_of, tight, Space(max_gpus=2))
    assert not found.winners
    assert "Nothing serves" in headline(found)
    assert "TPOT" in why(found.losers[0], tight)
    assert next_quality(found) is None
    slow = replace(found.losers[0], lost="ttft", ttft_p95_s=2.02)
    assert why(slow, TARGET) == "TTFT p95 2.02 s, just over the 2 s allowed"
    slow = replace(slow, ttft_p95_s=4.6)
    assert why(slow, TARGET) == "TTFT p95 4.60 s, 2.3 times the 2 s allowed"


def test_data_of_a_search_holds_every_figure(found: Found) -> None:
    data = as_data(found, most=3)
    assert len(data["winners"]) == 3
    assert data["winner_count"] == len(found.winners)
    assert data["points_tried"] == found.points
    row = data["winners"][0]
    assert row["usd_per_hour"] == found.winners[0].usd_per_hour
    assert row["output_tokens_per_joule"] > 0
    assert {loser["gpu"] for loser in data["nearest_losers"]}.isdisjoint(
        {winner.offer.gpu.id for winner in found.winners}
    )


def test_no_offer_is_refused() -> None:
    with pytest.raises(PlanRefused, match="known price"):
        search(preset("llama-3.1-8b"), (), speed_of, TARGET)


def test_a_shape_that_no_deployment_suits_is_a_refusal_and_not_a_crash() -> None:
    """SmolLM2-135M has 9 heads."""
    found = search(preset("smollm2-135m"), OFFERS[:1], speed_of, TARGET, Space(max_gpus=2))
    assert any("tensor_parallel_size 2" in refusal.reason for refusal in found.refusals)


def test_of_equal_costs_the_models_own_formats_come_first() -> None:
    found = search(preset("llama-3.1-8b"), OFFERS[3:4], speed_of, TARGET, Space(max_gpus=2, **ALL))
    cheapest = [w for w in found.winners if w.usd_per_hour == found.winners[0].usd_per_hour]
    kept = [
        (w.deployment.weights_dtype, w.deployment.kv_cache_dtype).count("auto") for w in cheapest
    ]
    assert len(set(kept)) > 1
    assert kept == sorted(kept, reverse=True)


def test_the_most_users_tried_are_no_capacity() -> None:
    """One user on an H200 tries 32 at most, and far more fit."""
    one = TARGET.model_copy(update={"concurrency": 1})
    found = search(preset("llama-3.1-8b"), OFFERS[1:2], speed_of, one, Space(max_gpus=1))
    best = found.winners[0]
    assert best.users == 32
    assert best.users_open
    assert users(best) == "at least 32 users"
    assert latency(
        preset("llama-3.1-8b"), best.offer.gpu, best.deployment, speed_of(best.offer.gpu),
        one.request, 33,
    ).load.ttft_p95_s < 2  # fmt: skip
    tight = search(preset("llama-3.1-8b"), OFFERS[4:5], speed_of, one, Space(max_gpus=1))
    assert not any(c.users_open for c in (*tight.winners, *tight.losers))


def test_limits_and_prices_are_said(found: Found) -> None:
    assert limits(TARGET) == "TTFT p95 within 2 s and TPOT within 50 ms"
    assert limits(TARGET) in headline(found)
    assert limits(TARGET.model_copy(update={"ttft_p95_s": None, "tpot_s": None})) == ""
    told = Offer(gpu=load_gpu("l4"), usd_per_gpu_hour=0.5, note="Somebody, 2026-01-02: a list")
    candidate = search(preset("smollm2-135m"), [told], speed_of, TARGET, Space(max_gpus=1))
    assert prices((*candidate.winners, *candidate.losers)) == (
        "L4: $0.50 per GPU-hour, Somebody, 2026-01-02: a list",
    )


def test_a_prompt_cannot_be_cached_beyond_its_length() -> None:
    with pytest.raises(PlanRefused, match="more than the prompt's 100"):
        Request(prompt_tokens=100, cached_tokens=200)
    assert Request(prompt_tokens=100, cached_tokens=100).computed_tokens == 1


def test_nothing_is_recommended_on_a_speed_that_was_assumed() -> None:
    """qwen3-30b-a3b for 32 users: a GH200 under llama.cpp came first on the times of vLLM."""
    model, config = preset("qwen3-30b-a3b"), load_model_config("qwen3-30b-a3b")
    target = Target(request=Request(), concurrency=32, ttft_p95_s=2.0, tpot_s=0.04)
    offers = [
        Offer(gpu=load_gpu(gpu_id), usd_per_gpu_hour=usd)
        for gpu_id, usd in (("gh200-96gb", 2.29), ("h200-sxm-141gb", 3.99))
    ]
    space = Space(max_gpus=2, engines=SERVING)
    found = search(model, offers, speed_of, target, space, config=config)
    assert any(winner.speed_assumed for winner in found.winners)
    assert not any(winner.speed_assumed for winner in found.frontier)
    assert not found.winners[0].speed_assumed
    order = [winner.speed_assumed for winner in found.winners]
    assert order == sorted(order)
    assert "speed assumed" in name(found.winners[-1])
    alone = search(model, offers, speed_of, target, Space(max_gpus=2, engines=("llama.cpp",)))
    assert alone.frontier
    assert all(winner.speed_assumed for winner in alone.frontier)
