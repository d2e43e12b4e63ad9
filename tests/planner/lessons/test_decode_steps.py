"""Projections with and without a cache, counted by doing it."""

import pytest

from planner.deployment import Deployment
from planner.formats.dtypes import kv_format
from planner.kv_cache import cache_terms, whole
from planner.lessons import decode_steps
from planner.timing.breakdown import decode_time, prefill_time
from planner.timing.passes import decode_pass, prefill_pass
from presets.claims import presets
from presets.gpus import load_gpu
from presets.speed import speed_of

model_of = presets().model_of
LLAMA, ALONE = model_of("llama-3.1-8b"), Deployment()
GPU = load_gpu("h100-sxm5-80gb")
SPEED = speed_of(GPU)


@pytest.mark.parametrize("tokens", [1, 2, 7, 100])
def test_totals_are_what_a_decoder_does(tokens: int) -> None:
    without, cached = 0, set()
    for step in range(1, tokens + 1):
        for position in range(step):
            without += 1
            cached.add(position)
    assert decode_steps.totals(tokens) == (without, len(cached))
    assert decode_steps.steps(tokens)[-1].total_without == without


def test_hundred_tokens() -> None:
    assert decode_steps.totals(100) == (5050, 100)


@pytest.mark.parametrize("tokens", [1, 2, 7, 100])
def test_pairs_are_what_a_decoder_scores(tokens: int) -> None:
    without = with_cache = 0
    for step in range(1, tokens + 1):
        for query in range(step):
            for _ in range(query + 1):
                without += 1
                with_cache += query == step - 1
    assert decode_steps.pair_totals(tokens) == (without, with_cache)
    assert without == tokens * (tokens + 1) * (tokens + 2) // 6


def test_an_answer_of_one_token_costs_its_prompt_either_way() -> None:
    prompt = prefill_time(prefill_pass(LLAMA, ALONE, 512), GPU, ALONE, SPEED).seconds
    found = decode_steps.seconds(LLAMA, GPU, ALONE, SPEED, prompt=512, answer=1)
    assert found.without_cache_s == found.with_cache_s == prompt
    assert found.ratio == 1


def test_an_answer_is_the_sum_of_its_steps() -> None:
    def pass_s(n: int) -> float:
        return prefill_time(prefill_pass(LLAMA, ALONE, n), GPU, ALONE, SPEED).seconds

    def step_s(n: int) -> float:
        return decode_time(decode_pass(LLAMA, ALONE, 1, n), GPU, ALONE, SPEED).seconds

    found = decode_steps.seconds(LLAMA, GPU, ALONE, SPEED, prompt=100, answer=20)
    again, once = (sum(map(each, range(101, 120))) for each in (pass_s, step_s))
    assert found.without_cache_s == pytest.approx(pass_s(100) + again)
    assert found.with_cache_s == pytest.approx(pass_s(100) + once)
    long = decode_steps.seconds(LLAMA, GPU, ALONE, SPEED, prompt=512, answer=200)
    again, once = (sum(map(each, range(513, 712))) for each in (pass_s, step_s))
    assert long.without_cache_s == pytest.approx(pass_s(512) + again, rel=1e-3)
    assert long.with_cache_s == pytest.approx(pass_s(512) + once, rel=1e-3)


def test_nothing_before_an_answer_is_a_token_that_starts_it() -> None:
    none, one = (decode_steps.seconds(LLAMA, GPU, ALONE, SPEED, prompt=n, answer=9) for n in (0, 1))
    assert none == one


def test_projection_flops_of_llama_8b() -> None:
    # 2 FLOPs x (K and V) x 1024 outputs x 4096 inputs x 32 layers
    assert decode_steps.projection_flops(model_of("llama-3.1-8b")) == 2 * 2 * 1024 * 4096 * 32


def test_projection_flops_of_mla_are_those_of_the_latent() -> None:
    # DeepSeek-V3: 512 + 64 outputs, 7168 inputs, 61 layers
    assert decode_steps.projection_flops(model_of("deepseek-v3")) == 2 * 576 * 7168 * 61


def test_growth_stops_at_the_window() -> None:
    model = model_of("mistral-7b-v0.1")
    terms = cache_terms(whole(model), kv_format("fp16"))
    sizes = decode_steps.growth(terms, 0, (2048, 4096, 32768))
    # 2 x 8 heads x 128 x 2 B x 32 layers a token, 4096 tokens at most
    assert sizes == [2048 * 131072, 4096 * 131072, 4096 * 131072]
