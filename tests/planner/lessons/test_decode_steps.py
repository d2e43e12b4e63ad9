"""Projections with and without a cache, counted by doing it."""

import pytest

from planner.formats.dtypes import kv_format
from planner.kv_cache import cache_terms, whole
from planner.lessons import decode_steps
from presets.claims import presets

model_of = presets().model_of


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
