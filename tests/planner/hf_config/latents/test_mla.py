"""Latent attention, and types of its families that do without."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.hf_config.counts import cases
from tests.planner.models import DEEPSEEK_V3, cache_bytes


def test_deepseek_ocr_has_experts_but_no_latents() -> None:
    """Its language_config as published, worked out by hand."""
    language = {
        "first_k_dense_replace": 1, "hidden_size": 1280, "intermediate_size": 6848,
        "kv_lora_rank": None, "lm_head": True, "moe_intermediate_size": 896, "n_group": 1,
        "n_routed_experts": 64, "n_shared_experts": 2, "num_attention_heads": 10,
        "num_experts_per_tok": 6, "num_hidden_layers": 12, "num_key_value_heads": 10,
        "q_lora_rank": None, "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "rm_head": False,
        "topk_group": 1, "topk_method": "greedy", "use_mla": False, "v_head_dim": 0,
        "vocab_size": 129280,
    }  # fmt: skip
    around = {"model_type": "deepseek_vl_v2", "candidate_resolutions": [[1024, 1024]]}
    model = parse({**around, "language_config": language, "tile_tag": "2D"})
    layer = 4 * 1280**2 + 2 * 1280
    experts = (64 + 2) * 3 * 1280 * 896 + 64 * 1280
    outside = 2 * 129280 * 1280 + 1280
    assert count(model).total == 12 * layer + 3 * 1280 * 6848 + 11 * experts + outside
    assert cache_bytes(model, 1000) == 1000 * 2 * 12 * 2 * 1280
    with pytest.raises(ConfigRefused, match="use_mla"):
        parse({**DEEPSEEK_V3, "use_mla": False})
    latent = {**language, "qk_nope_head_dim": 128}
    with pytest.raises(ConfigRefused, match="qk_nope_head_dim"):
        parse({**around, "language_config": latent})


def test_hyper_connections_have_an_epsilon_that_sizes_nothing() -> None:
    """As transformers 5.24 saves HYV4Config."""
    config = next(c["config"] for c in cases("sparse") if c["config"]["model_type"] == "hy_v4")
    assert parse({**config, "hc_eps": 1e-06}).groups == parse(config).groups
