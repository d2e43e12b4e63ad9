"""Forms of attention for Llama 3.1 8B at 32K tokens: 32 layers, 32 heads of 128."""

import pytest

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.lessons.heads import forms
from presets.claims import presets

model_of = presets().model_of
N = 32768
LAYERS = 32


def test_bytes() -> None:
    found = {f.name: f.cache_bytes for f in forms(model_of("llama-3.1-8b"), Deployment(), N)}
    head = 2 * 128 * 2 * LAYERS * N
    assert found == {
        "As published": 8 * head,
        "MHA": 32 * head,
        "GQA": 8 * head,
        "MQA": head,
        "MLA": (512 + 64) * 2 * LAYERS * N,
        "Window 4,096": 8 * head * 4096 // N,
        "Linear": 32 * 128 * 128 * 2 * LAYERS,
    }


def test_flops_of_a_step() -> None:
    found = {f.name: f.flops for f in forms(model_of("llama-3.1-8b"), Deployment(), N)}
    whole = 2 * 32 * (128 + 128) * N * LAYERS
    assert found["MHA"] == found["GQA"] == found["MQA"] == found["As published"] == whole
    assert found["MLA"] == 2 * 32 * (576 + 512) * N * LAYERS
    assert found["Window 4,096"] == whole * 4096 // N
    assert found["Linear"] == 4 * 32 * 128 * 128 * LAYERS


def test_a_window_over_latents_computes_less() -> None:
    found = {f.name: f.flops for f in forms(model_of("deepseek-v3"), Deployment(), N)}
    # 128 heads over latents of 576 and 512, 61 layers
    assert found["As published"] == 2 * 128 * (576 + 512) * N * 61
    assert found["Window 4,096"] == 2 * 128 * (576 + 512) * 4096 * 61


def test_a_wider_window_is_named() -> None:
    names = [f.name for f in forms(model_of("llama-3.1-8b"), Deployment(), N, window=8192)]
    assert "Window 8,192" in names


def test_nothing_to_exchange_is_refused() -> None:
    with pytest.raises(PlanRefused, match="no softmax attention"):
        forms(model_of("mamba-2.8b-hf"), Deployment(), N)


def test_parameters_of_each_form() -> None:
    """K and V of a head are 2 x 4096 x 128 in each layer; a step of 128 in width 3 x 4096 x 128."""
    llama, published = model_of("llama-3.1-8b"), 8_030_261_248
    head, step = LAYERS * 2 * 4096 * 128, LAYERS * 3 * 4096 * 128
    own = {f.name: f.parameters for f in forms(llama, Deployment(), N)}
    assert own["MHA"] == published + 24 * head
    assert own["MQA"] == published - 7 * head
    same = {f.name: f for f in forms(llama, Deployment(), N, same_parameters=True)}
    assert list(same) == list(own)
    assert same["MHA"].parameters == published + 24 * head - 16 * step
    assert same["MQA"].parameters == published - 7 * head + 5 * step
    assert all(abs(f.parameters - published) <= step / 2 for f in same.values())
