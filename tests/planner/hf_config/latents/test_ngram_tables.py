"""LongCat-Flash-Lite, whose embedding looks up n-grams, against mlx-lm 0.32.2.

Each figure is the model's own parameter arrays added up, without the router's correction biases.
"""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count

LITE = {
    "model_type": "longcat_flash_ngram", "vocab_size": 131072, "hidden_size": 3072,
    "ffn_hidden_size": 6144, "expert_ffn_hidden_size": 1024, "num_layers": 14,
    "num_attention_heads": 32, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64,
    "qk_nope_head_dim": 128, "v_head_dim": 128, "n_routed_experts": 256, "moe_topk": 12,
    "routed_scaling_factor": 6.0, "zero_expert_num": 128, "zero_expert_type": "identity",
    "ngram_vocab_size_ratio": 78, "emb_neighbor_num": 4, "emb_split_num": 4,
    "rope_theta": 5e6, "rms_norm_eps": 1e-5, "max_position_embeddings": 327680,
    "torch_dtype": "bfloat16",
}  # fmt: skip
SMALL = {
    "num_layers": 2, "n_routed_experts": 16, "vocab_size": 1024,
    "emb_neighbor_num": 3, "emb_split_num": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "parameters"),
    [({}, 68_562_465_024 - 5_376), (SMALL, 921_320_736 - 288)],
    ids=["LongCat-Flash-Lite", "small"],
)
def test_tables_of_n_grams_are_counted(changed: dict[str, object], parameters: int) -> None:
    model = parse({**LITE, **changed})
    assert count(model).total == parameters


def test_the_cache_is_that_of_two_attentions_a_layer() -> None:
    assert parse(LITE).layer_counts == {"mla+mla": 14}


def test_too_many_tables_are_refused() -> None:
    with pytest.raises(ConfigRefused, match="emb_split_num: asks for 12,000 tables"):
        parse({**LITE, "emb_split_num": 4000})
