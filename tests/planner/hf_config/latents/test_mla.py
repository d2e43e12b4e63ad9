"""Latent attention, and types of its families that do without."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from presets.models import load_model_config
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


def test_an_older_name_of_layers_with_an_indexer() -> None:
    """GLM-5.2 as NVIDIA saved it with transformers 5.11; 5.24 reads the name as the newer one."""
    config = load_model_config("glm-5.2")
    layers = config["num_hidden_layers"]
    named = {**config, "layer_types": ["deepseek_sparse_attention"] * layers}
    assert parse(named) == parse(config)
    with pytest.raises(ConfigRefused, match="layer_types"):
        parse({**config, "layer_types": ["full_attention"] * layers})


def test_youtu_under_its_publishers_name() -> None:
    """Elements of mlx_lm 0.32.2's Model of Youtu-LLM-2B's fields."""
    config = {
        "model_type": "youtu_llm", "vocab_size": 128256, "hidden_size": 2048,
        "intermediate_size": 6144, "num_hidden_layers": 32, "num_attention_heads": 16,
        "num_key_value_heads": 16, "kv_lora_rank": 512, "q_lora_rank": 1536,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128,
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": True,
    }  # fmt: skip
    assert count(parse(config)).total == 1_961_560_064
    other = {**config, "attention_bias": True, "q_lora_rank": None}
    assert count(parse(other)).total == 1_911_263_232
