"""Configurations with single fields changed or left out: sized as their class does, or refused.

data/counted_changed.json was made by make_counted.py (transformers, meta device).
"""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from tests.planner.hf_config.counts import cache, cases, parameters
from tests.planner.models import SMALL

CASES = cases("changed")
BY_NAME = {case["name"]: case["config"] for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_changed_field_is_sized_as_its_class_does(case: dict[str, Any]) -> None:
    model = parse(case["config"])
    assert parameters(model) == case["parameters"]
    assert cache(model, case) == case["kv_cache_bytes"]


EXPERTS = {**SMALL, "num_experts": 8, "num_experts_per_tok": 2}
LATENT = {
    **{name: size for name, size in SMALL.items() if name != "head_dim"},
    "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48,
    "kv_lora_rank": 32, "q_lora_rank": 24, "qk_rope_head_dim": 64, "qk_nope_head_dim": 16,
    "v_head_dim": 16,
}  # fmt: skip
DENSE_FIRST = ["dense"] + ["sparse"] * 5


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({**EXPERTS, "model_type": "olmoe", "mlp_layer_types": DENSE_FIRST}, "mlp_layer_types"),
        ({**EXPERTS, "model_type": "olmoe", "moe_layer_freq": [0] + [1] * 5}, "moe_layer_freq"),
        ({**LATENT, "model_type": "mistral4", "mlp_layer_types": DENSE_FIRST}, "mlp_layer_types"),
        ({**LATENT, "model_type": "glm4_moe_lite", "first_k_dense_replace": 2},
         "first_k_dense_replace"),
        ({**LATENT, "model_type": "deepseek_v32", "index_topk_freq": 2, "index_n_heads": 4,
          "index_head_dim": 96, "index_topk": 16}, "index_topk_freq"),
        ({**SMALL, "model_type": "gemma3_text", "_sliding_window_pattern": 3},
         "_sliding_window_pattern"),
        ({**SMALL, "model_type": "olmo3", "sliding_window_pattern": 3}, "sliding_window_pattern"),
        ({**SMALL, "model_type": "gemma4_text", "sliding_window_pattern": 3},
         "sliding_window_pattern"),
        ({**SMALL, "model_type": "cohere2", "layer_switch": 3}, "layer_switch"),
        ({**SMALL, "model_type": "olmo_hybrid", "full_attention_interval": 2},
         "full_attention_interval"),
        ({**SMALL, "model_type": "hunyuan_vl_text", "org_vocab_size": 321}, "org_vocab_size"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["model_type"],
)  # fmt: skip
def test_a_field_that_the_class_does_not_read_may_only_agree(
    config: dict[str, Any], field: str
) -> None:
    """transformers sizes each of these as if the field were not there; other code may read it."""
    with pytest.raises(ConfigRefused) as refused:
        parse(config)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "changes", "field"),
    [
        ("hy_v3: num_shared_experts=2", {"num_shared_experts": 0}, "num_shared_experts"),
        ("zamba2: adapter_rank=129", {"hybrid_layer_ids": [1]}, "hybrid_layer_ids"),
        ("zamba2: adapter_rank=129", {"use_shared_attention_lora": True},
         "use_shared_attention_lora"),
        ("gemma4_text: attention_k_eq_v=True", {"num_kv_shared_layers": 1}, "num_kv_shared_layers"),
        ("minimax_m3_vl_text, experts by a list", {"moe_layer_freq": [0, 1]}, "moe_layer_freq"),
        ("nemotron_h: num_experts_per_tok=1", {"layers_block_type": [{}] * 6}, "layers_block_type"),
        ("laguna: layer_types=ALT", {"num_attention_heads_per_layer": [0] * 6},
         "num_attention_heads_per_layer"),
        ("qwen3_moe: decoder_sparse_step=2", {"mlp_only_layers": [{}]}, "mlp_only_layers"),
        ("llama4_text: moe_layers=[]", {"moe_layers": [True]}, "moe_layers"),
    ],
)  # fmt: skip
def test_what_a_counted_configuration_cannot_say(
    name: str, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigRefused) as refused:
        parse({**BY_NAME[name], **changes})
    assert refused.value.field == field


def test_flags_that_zamba2_files_hold_and_its_class_does_not_read_may_agree() -> None:
    config = BY_NAME["zamba2: adapter_rank=129"]
    own = {"use_shared_mlp_adapter": True, "use_shared_block_lora": True, "lora_rank": 129}
    assert parse({**config, **own}) == parse(config)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"model_type": "rwkv", "attention_hidden_size": 128}, "attention_hidden_size"),
        ({"model_type": "zamba", "tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"model_type": "zamba2", "tie_word_embeddings": False}, "tie_word_embeddings"),
        ({**EXPERTS, "model_type": "laguna", "gating": False}, "gating"),
        ({"model_type": "hrm_text"}, "model_type"),
        ({"model_type": "openai-gpt"}, "model_type"),
        ({"model_type": "diffusion_gemma", "text_config": {}}, "model_type"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["model_type"],
)
def test_what_implementations_build_differently_or_not_at_all(
    config: dict[str, Any], field: str
) -> None:
    with pytest.raises(ConfigRefused) as refused:
        parse({**SMALL, **config})
    assert refused.value.field == field
