"""Moments of a pass by hand: they follow each other, so the largest counts and not their sum."""

import pytest

from planner.activations import activation_terms
from planner.hf_config import parse
from planner.kv_cache import whole
from presets.models import load_model_config

TOKENS = 8192


@pytest.mark.parametrize(
    ("name", "elements_per_token", "measured_bytes"),
    [
        ("llama-3.1-8b", 4096 + 3 * 14336, 771_915_264),
        ("qwen3-8b", 4096 + 3 * 12288, 671_252_096),
        # Residual, input, and 8 experts' workspaces of 2 x 768 (padded to 2048) and 2048.
        ("qwen3-30b-a3b", 2 * 2048 + 8 * (2048 + 2048), 538_813_952),
        # Its first layer, which is dense, not its experts: 2 x 2048 + 6 x (2 x 1408 + 2048).
        ("deepseek-v2-lite", 2048 + 3 * 10944, 573_079_040),
        ("gemma-3-27b-it", 5376 + 3 * 21504, 1_145_273_344),
    ],
)
def test_the_widest_moment(name: str, elements_per_token: int, measured_bytes: int) -> None:
    """measured: above weights and cache while 8,192 tokens were prefilled on an H200, without the
    rotary tables (4 MiB, or 2 for a width of 64)."""
    model = parse(load_model_config(name))
    found = activation_terms(model, list(whole(model))).layers(TOKENS)
    assert found.bytes == TOKENS * 2 * elements_per_token
    assert found.low_bytes <= measured_bytes <= found.high_bytes


def test_latents_multiplied_out_and_experts_of_deepseek_v3() -> None:
    """128 heads: residual, projections, keys and values; 8 experts of 2 x 2048 from 7168."""
    model = parse(load_model_config("deepseek-v3"))
    projections = 128 * (128 + 64) + 128 * (128 + 128) + 128 * 128
    found = activation_terms(model, list(whole(model)))
    latents = found.beside_mla_bytes_per_token + found.mla_bytes_per_token
    assert latents == 2 * (7168 + projections + 128 * (128 + 128))
    assert found.layer_bytes(TOKENS) == TOKENS * 2 * (2 * 7168 + 8 * (7168 + 7168))
    assert found.layer_bytes(TOKENS) > TOKENS * latents
