"""The search against plans made one by one, and against its own definitions."""

import random
from dataclasses import replace

import pytest

from planner.admission.admission import Asked
from planner.admission.rules import rule_of
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.hardware import custom_gpu
from planner.hf_config import parse
from planner.model import Model
from planner.plan import make_plan
from planner.search.candidates import Candidate, Found
from planner.search.data import as_data
from planner.search.engine import engine_figures
from planner.search.report import (
    headline,
    limits,
    name,
    next_quality,
    prices,
    users,
    why,
)
from planner.search.search import search, user_steps
from planner.search.space import (
    CACHES,
    CHUNKS,
    IDEAL,
    SERVING,
    WEIGHTS,
    Offer,
    Space,
    Target,
    deployments,
)
from planner.search.sweep import compile_deployment, sweep
from planner.timing.disaggregation import disaggregate
from planner.timing.latency import Request, latency
from planner.timing.speed_grid import GpuGrid
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of

IDS = ("h100-sxm5-80gb", "h200-sxm-141gb", "a100-pcie-80gb", "mi300x", "l4", "rtx-4090")
OFFERS = tuple(
    Offer(gpu=load_gpu(gpu_id), usd_per_gpu_hour=usd)
    for gpu_id, usd in zip(IDS, (2.5, 3.5, 1.4, 2.0, 0.5, 0.4), strict=True)
)
TARGET = Target(
    request=Request(prompt_tokens=6000, output_tokens=500), concurrency=24, ttft_p95_s=2.0,
    tpot_s=0.05,
)  # fmt: skip


ALL: dict[str, tuple[str, ...]] = {"weights_dtypes": WEIGHTS, "kv_cache_dtypes": CACHES}


def preset(name: str) -> Model:
    return parse(load_model_config(name))


@pytest.fixture(scope="module")
def found() -> Found:
    return search(preset("llama-3.1-70b"), OFFERS, speed_of, TARGET, Space(max_gpus=8, **ALL))


@pytest.mark.parametrize(
    "name",
    [
        "llama-3.1-8b",
        "gemma-3-27b-it",
        "deepseek-v3",
        "qwen3-30b-a3b",
        "qwen3-next-80b-a3b-thinking",
    ],
)
def test_the_sweep_is_the_plan_and_its_latency(name: str) -> None:
    """On a random sample of deployments, GPUs, chunk sizes and users."""
    model, draw = preset(name), random.Random(name)
    gpus = [offer.gpu for offer in OFFERS]
    speeds = [speed_of(gpu) for gpu in gpus]
    grid = GpuGrid(gpus, speeds)
    asked_users = user_steps(TARGET.concurrency)
    tried = list(deployments(model, Space(max_gpus=16, rings=(1, 2, 4), **ALL)))
    checked = 0
    for deployment in draw.sample(tried, 12):
        try:
            compiled = compile_deployment(model, deployment, TARGET, asked_users, CHUNKS)
        except PlanRefused:
            continue
        asked = Asked(tuple(gpus), deployment, TARGET.request.context, compiled.sequences, CHUNKS)
        used = rule_of(IDEAL, model).admission(asked).needed_bytes
        swept = sweep(compiled, grid)
        for _ in range(6):
            g, k, u = (draw.randrange(n) for n in (len(gpus), len(CHUNKS), len(asked_users)))
            chosen = deployment.replace(max_num_batched_tokens=CHUNKS[k])
            wanted = int(asked_users[u])
            work = Workload(context=TARGET.request.context, concurrency=wanted)
            assert used[g, k, u] == make_plan(model, gpus[g], chosen, work).total_bytes_per_gpu
            one = latency(model, gpus[g], chosen, speeds[g], TARGET.request, wanted)
            for swept_figure, figure in (
                (swept.prefill_s[g, k, 0], one.ttft.seconds),
                (swept.decode_s[g, 0, u], one.tpot.seconds),
                (swept.load.ttft_p95_s[g, k, u], one.load.ttft_p95_s),
                (swept.load.tpot_s[g, k, u], one.load.tpot_s),
                (swept.load.requests_per_s[g, k, u], one.load.requests_per_s),
            ):
                assert swept_figure == pytest.approx(figure, rel=1e-9)
            checked += 1
    assert checked >= 12


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


def test_deployments_are_all_layouts_of_whole_machines() -> None:
    dense = list(deployments(preset("llama-3.1-8b"), Space(max_gpus=4, **ALL)))
    layouts = {
        (d.tensor_parallel_size, d.pipeline_parallel_size, d.data_parallel_size) for d in dense
    }
    assert layouts == {
        (1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2),
        (4, 1, 1), (2, 2, 1), (2, 1, 2), (1, 4, 1), (1, 2, 2), (1, 1, 4),
    }  # fmt: skip
    assert len(dense) == len(layouts) * 4 * 2
    assert any(d.enable_expert_parallel for d in deployments(preset("qwen3-30b-a3b"), Space()))


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


def test_only_the_models_own_formats_unless_others_are_named() -> None:
    found = search(preset("llama-3.1-8b"), OFFERS, speed_of, TARGET, Space(max_gpus=2))
    everything = (*found.winners, *found.losers)
    assert {(c.weights, c.cache) for c in everything} == {("bf16", "bf16")}
    assert "weights bf16 (own), cache bf16 (own)" in name(found.winners[0])
    deepseek = search(preset("deepseek-v3"), OFFERS[:2], speed_of, TARGET, Space(max_gpus=8))
    assert {c.weights for c in (*deepseek.winners, *deepseek.losers)} == {"fp8_block"}


def test_formats_are_tried_only_where_a_card_has_kernels() -> None:
    """NVFP4 has none on AMD, and on Hopper, Ampere and Ada only weight-only ones."""
    found = search(preset("llama-3.1-8b"), OFFERS, speed_of, TARGET, Space(max_gpus=2, **ALL))
    tried = {(c.offer.gpu.id, c.deployment.weights_dtype) for c in (*found.winners, *found.losers)}
    assert ("mi300x", "nvfp4") not in tried
    assert ("mi300x", "fp8") in tried
    assert ("h100-sxm5-80gb", "nvfp4") in tried
    assert found.unsupported == ("Instinct MI300X has no kernels for nvfp4 weights",)
    for c in (*found.winners, *found.losers):
        if c.offer.gpu.id == "a100-pcie-80gb" and c.deployment.weights_dtype == "fp8":
            assert "weights fp8 weight-only" in name(c)
    only = Space(max_gpus=2, weights_dtypes=("nvfp4",))
    with pytest.raises(PlanRefused, match="no kernels for nvfp4"):
        search(preset("llama-3.1-8b"), OFFERS[3:4], speed_of, TARGET, only)


def test_what_cannot_be_tried_is_named_and_the_rest_is_tried() -> None:
    """A card without a bandwidth; and MiniMax-M3, which does not say its layers' formats."""
    unknown = Offer(gpu=custom_gpu(80 * 10**9), usd_per_gpu_hour=1.0)
    found = search(
        preset("llama-3.1-8b"), (OFFERS[0], unknown), speed_of, TARGET, Space(max_gpus=2)
    )  # fmt: skip
    assert {c.offer.gpu.id for c in (*found.winners, *found.losers)} == {"h100-sxm5-80gb"}
    (reason,) = found.unsupported
    assert "no memory bandwidth is known" in reason
    both = Space(max_gpus=8, weights_dtypes=("auto", "fp8"))
    minimax = search(preset("minimax-m3"), OFFERS[1:2], speed_of, TARGET, both)
    assert {c.deployment.weights_dtype for c in (*minimax.winners, *minimax.losers)} == {"fp8"}
    assert any("name a weights dtype" in refusal.reason for refusal in minimax.refusals)


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


def test_positions_are_noted_or_refused() -> None:
    far = TARGET.model_copy(update={"request": Request(prompt_tokens=200_000)})
    found = search(preset("llama-3.1-8b"), OFFERS[:2], speed_of, far, Space(max_gpus=1))
    assert "131,072 positions" in (found.note or "")
    with pytest.raises(PlanRefused, match="1,024 positions"):
        search(preset("gpt2-medium"), OFFERS[:1], speed_of, TARGET, Space(max_gpus=1))


def test_a_prompt_cannot_be_cached_beyond_its_length() -> None:
    with pytest.raises(PlanRefused, match="more than the prompt's 100"):
        Request(prompt_tokens=100, cached_tokens=200)
    assert Request(prompt_tokens=100, cached_tokens=100).computed_tokens == 1


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
    assert "for prompts (tensor parallel" in name(pairs[0])
    winners = [pair for pair in pairs if pair.lost is None]
    assert winners
    assert all((w.ttft_p95_s or 9) <= 6 and (w.tpot_s or 9) <= 0.03 for w in winners)


def test_a_cache_that_tensor_parallelism_copies_is_split_too() -> None:
    """Qwen3-30B-A3B has 4 KV heads: at 8 ranks two hold the same, DeepSeek's latent is on all."""
    qwen = {
        (d.tensor_parallel_size, d.decode_context_parallel_size)
        for d in deployments(preset("qwen3-30b-a3b"), Space(max_gpus=8))
    }
    assert qwen == {(1, 1), (2, 1), (4, 1), (8, 1), (8, 2)}
    latent = {
        (d.tensor_parallel_size, d.decode_context_parallel_size)
        for d in deployments(preset("deepseek-v3"), Space(max_gpus=4))
    }
    assert latent == {(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)}
    windowed = deployments(preset("gpt-oss-20b"), Space(max_gpus=16))
    assert all(d.decode_context_parallel_size == 1 for d in windowed)


def test_a_split_latent_serves_more_users() -> None:
    target = TARGET.model_copy(update={"ttft_p95_s": None, "tpot_s": None})
    space = Space(max_gpus=8, engines=("vllm", "sglang"), chunk_tokens=(4096,))
    found = search(preset("deepseek-v3"), OFFERS[1:2], speed_of, target, space)
    admitted = {
        c.deployment.decode_context_parallel_size: c.admitted
        for c in (*found.winners, *found.losers)
        if c.engine == "vllm"
        and c.deployment.tensor_parallel_size == 8
        and not c.deployment.enable_expert_parallel
    }
    assert admitted[8] > 4 * admitted[1] > 0
    assert not any(
        c.engine == "sglang" and c.deployment.decode_context_parallel_size > 1
        for c in (*found.winners, *found.losers)
    )
    assert any("SGLang is not described with decode" in r.reason for r in found.refusals)


def test_a_ring_shortens_long_prompts_on_plain_bytes_only() -> None:
    long = TARGET.model_copy(update={
        "request": Request(prompt_tokens=120_000, output_tokens=100), "concurrency": 1,
        "ttft_p95_s": None, "tpot_s": None,
    })  # fmt: skip
    space = Space(max_gpus=4, engines=(IDEAL, "vllm"), rings=(1, 4), pipeline=False)
    found = search(preset("llama-3.1-8b"), OFFERS[:1], speed_of, long, space)
    times = {
        (c.engine, c.deployment.tensor_parallel_size, c.deployment.context_parallel_size): c.alone_s
        for c in found.winners
        if c.deployment.data_parallel_size == 1
    }
    assert times[IDEAL, 1, 4] < 0.4 * times[IDEAL, 1, 1]
    assert ("vllm", 1, 4) not in times
    assert any("vLLM is not described with a prefill ring" in r.reason for r in found.refusals)
    one = found.winners[0]
    if one.deployment.context_parallel_size > 1:
        assert "in a ring of 4" in name(one)


def test_tensor_parallel_stays_in_a_machine() -> None:
    """70 B in bf16 needs two of 96 GB: of machines with one GPU they are stages of a pipeline."""
    alone = Offer(gpu=load_gpu("gh200-96gb"), usd_per_gpu_hour=2.29)
    joined = Offer(gpu=load_gpu("h20-96gb"), usd_per_gpu_hour=2.29)
    target = Target(request=Request(prompt_tokens=512, output_tokens=64))
    found = search(
        preset("llama-3.1-70b"), (alone, joined), speed_of, target, Space(max_gpus=4)
    )  # fmt: skip
    every = (*found.winners, *found.losers)
    sizes = {
        gpu: {c.deployment.tensor_parallel_size for c in every if c.offer.gpu.id == gpu}
        for gpu in ("gh200-96gb", "h20-96gb")
    }
    assert sizes == {"gh200-96gb": {1}, "h20-96gb": {1, 2, 4}}
    pair = next(c for c in found.winners if c.offer.gpu.id == "gh200-96gb")
    assert "2 machines over a network" in name(pair)
    assert not any("machines" in name(c) for c in every if c.offer.gpu.id == "h20-96gb")


def test_a_prompt_within_the_smallest_chunk_is_one_pass_at_every_size() -> None:
    """Its passes are alike for all chunk sizes, and so are its times."""
    target = Target(request=Request(prompt_tokens=400, output_tokens=32))
    compiled = compile_deployment(
        preset("llama-3.1-8b"), Deployment(), target, user_steps(1), CHUNKS
    )  # fmt: skip
    swept = sweep(compiled, GpuGrid([load_gpu("l4")], [speed_of(load_gpu("l4"))]))
    one = latency(
        preset("llama-3.1-8b"), load_gpu("l4"), Deployment(), speed_of(load_gpu("l4")),
        target.request, 1,
    )  # fmt: skip
    assert swept.prefill_s[0, :, 0].tolist() == pytest.approx([one.ttft.seconds] * len(CHUNKS))


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
