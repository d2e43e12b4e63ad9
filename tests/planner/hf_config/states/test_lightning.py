"""Ring-mini-linear-2.0 as published (BailingMoeLinearV2ForCausalLM)."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.registry import ENGINES
from planner.errors import ConfigRefused, PlanRefused
from planner.hf_config import parse
from planner.parameters import count
from planner.workload import Workload
from presets.gpus import load_gpu
from tests.planner.models import cache_bytes

RING: dict[str, Any] = {
    "model_type": "bailing_moe_linear", "hidden_size": 2048, "intermediate_size": 5120,
    "num_hidden_layers": 20, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 128,
    "vocab_size": 157184, "layer_group_size": 5, "group_norm_size": 4, "linear_silu": False,
    "first_k_dense_replace": 1, "num_experts": 256, "num_experts_per_tok": 8,
    "moe_intermediate_size": 512, "num_shared_experts": 1, "n_group": 8, "topk_group": 4,
    "moe_shared_expert_intermediate_size": 512, "moe_router_enable_expert_bias": True,
    "router_dtype": "fp32", "score_function": "sigmoid", "use_bias": False, "use_qkv_bias": False,
    "use_qk_norm": True, "use_rmsnorm": True, "tie_word_embeddings": False, "dtype": "bfloat16",
    "num_nextn_predict_layers": 0, "embedding_dropout": 0.0, "partial_rotary_factor": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "parameters", "full"),
    [
        ({}, 16_423_443_456, [4, 9, 14, 19]),
        ({"num_hidden_layers": 22, "use_qk_norm": False, "tie_word_embeddings": True},
         17_740_457_984, [4, 9, 14, 19, 20, 21]),
    ],
)  # fmt: skip
def test_ring_has_what_mlx_lm_builds(
    changes: dict[str, Any], parameters: int, full: list[int]
) -> None:
    """Elements of mlx_lm 0.32.2's Model of these fields, but for the routers' biases."""
    model = parse({**RING, **changes})
    assert count(model).total == parameters
    assert sorted(i for g in model.groups if g.kind == "full" for i in g.layers) == full


def test_ring_keeps_keys_of_every_fifth_layer_and_float32_states_of_the_others() -> None:
    model = parse(RING)
    assert cache_bytes(model, 1000) == 4 * 1000 * 2 * 4 * 128 * 2
    states = [(g.count, s.elements, s.dtype) for g in model.groups for s in g.state()]
    assert states == [(1, 16 * 128 * 128, "float32"), (15, 16 * 128 * 128, "float32")]


@pytest.mark.parametrize(("field", "value"), [("head_dim", 64), ("use_qkv_bias", True)])
def test_ring_with_other_lightning_layers_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigRefused, match=field):
        parse({**RING, field: value})


@pytest.mark.parametrize("name", ["vllm", "sglang"])
def test_engines_whose_states_of_these_layers_nobody_described_are_refused(name: str) -> None:
    """MiniMax's, which vLLM kept in the model's dtype, are other layers."""
    engine, gpu = ENGINES[name], load_gpu("h100-sxm5-80gb")
    with pytest.raises(PlanRefused, match="states of lightning"):
        engine.figures(
            parse({**RING, "max_position_embeddings": 4096}), gpu, Deployment(), engine.options(),
            Workload(context=4096),
        )  # fmt: skip


LING_2_5: dict[str, Any] = {
    "model_type": "bailing_hybrid", "hidden_size": 512, "intermediate_size": 1024,
    "num_hidden_layers": 20, "num_attention_heads": 8, "num_key_value_heads": 8, "head_dim": 128,
    "vocab_size": 2048, "layer_group_size": 5, "group_norm_size": 4, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "q_lora_rank": 96, "kv_lora_rank": 64,
    "use_qk_norm": True, "first_k_dense_replace": 2, "num_experts": 16, "num_experts_per_tok": 4,
    "num_shared_experts": 1, "moe_intermediate_size": 64, "n_group": 4, "topk_group": 2,
    "moe_shared_expert_intermediate_size": 64, "moe_router_enable_expert_bias": True,
    "score_function": "sigmoid", "use_bias": False, "use_qkv_bias": False,
    "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip


def test_ling_2_5_has_what_mlx_lm_builds() -> None:
    """Elements of mlx_lm 0.32.2's Model (bailing_hybrid.py), but for the routers' biases."""
    model = parse(LING_2_5)
    assert count(model).total == 81_126_528
    assert model.layer_counts == {"lightning_fp32": 16, "mla": 4}
    assert cache_bytes(model, 1000) == 4 * 1000 * (64 + 64) * 2
    changes = {
        "q_lora_rank": None, "num_hidden_layers": 22, "use_qk_norm": False, "head_dim": 64,
    }  # fmt: skip
    assert count(parse({**LING_2_5, **changes})).total == 68_877_184
    with pytest.raises(ConfigRefused, match="use_qk_norm"):
        parse({name: value for name, value in LING_2_5.items() if name != "use_qk_norm"})
