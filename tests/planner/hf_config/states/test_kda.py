"""Kimi K3 against the tensors of its 96 files, which github.com/gogongxt/python lists with their
shapes (scripts/models/kimi_k3.md); the index of the files states their bytes."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.parameters import count
from planner.weights import weights_bytes
from tests.planner.models import cache_bytes

FULL = [*range(4, 93, 4), 93]
SCHEME = {
    "format": "mxfp4-pack-quantized", "targets": ["Linear"], "input_activations": None,
    "weights": {"group_size": 32, "num_bits": 4, "strategy": "group", "symmetric": True,
                "type": "float", "scale_dtype": "torch.uint8", "dynamic": False},
}  # fmt: skip
TEXT: dict[str, Any] = {
    "model_type": "kimi_linear", "hidden_size": 7168, "intermediate_size": 33792,
    "num_hidden_layers": 93, "num_attention_heads": 96, "num_key_value_heads": 96,
    "vocab_size": 163840, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "mla_use_nope": True, "mla_use_output_gate": True,
    "num_experts": 896, "num_experts_per_token": 16, "num_shared_experts": 2,
    "moe_intermediate_size": 3072, "moe_layer_freq": 1, "first_k_dense_replace": 1,
    "routed_expert_hidden_size": 3584, "latent_moe_use_norm": True, "attn_res_block_size": 12,
    "hidden_act": "situ", "activation_situ_beta": 4.0, "activation_situ_linear_beta": 25.0,
    "num_nextn_predict_layers": 0, "tie_word_embeddings": False, "dtype": "bfloat16",
    "linear_attn_config": {
        "full_attn_layers": FULL, "kda_layers": [i for i in range(1, 94) if i not in FULL],
        "gate_lower_bound": -5.0, "head_dim": 128, "num_heads": 96, "short_conv_kernel_size": 4,
        "use_full_rank_gate": True,
    },
    "quantization_config": {
        "quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
        "config_groups": {"group_0": SCHEME},
        "ignore": ["re:.*self_attn.*", "re:.*shared_experts.*",
                   r"re:.*mlp\.(gate|up|gate_up|down)_proj.*", "re:.*lm_head.*",
                   "re:.*vision_tower.*", "re:.*mm_projector.*"],
    },
}  # fmt: skip
VISION = {
    "activation_func": "gelu_pytorch_tanh", "attn_bias": False, "init_pos_emb_height": 64,
    "init_pos_emb_time": 4, "init_pos_emb_width": 64, "linear_bias": False,
    "merge_kernel_size": [2, 2], "merge_type": "sd2_tpool", "mlp_type": "mlp2",
    "mm_hidden_size": 1024, "mm_projector_type": "patchmergerv2", "norm_type": "rmsnorm",
    "patch_embed_proj_bias": False, "patch_size": 14, "pos_emb_interpolation_mode": "bilinear",
    "pos_emb_type": "divided_fixed", "projector_hidden_act": "gelu", "projector_ln_eps": 1e-05,
    "qkv_hidden_size": 1536, "text_hidden_size": 7168, "vt_hidden_size": 1024,
    "vt_intermediate_size": 4096, "vt_num_attention_heads": 12, "vt_num_hidden_layers": 27,
}  # fmt: skip
K3 = {"model_type": "kimi_k3", "text_config": TEXT, "vision_config": VISION}

H = 7168
IN_FLOAT32 = 69 * (12288 + 3 * 12288 * 4 + 128)
"""dt_bias, three convolutions and o_norm of the delta layers."""
DELTA = 69 * (96 * H + 128 * H + 12288 * 128 + 3 * 12288 * H) + IN_FLOAT32
LATENT = 24 * (512 + 576 * H + 24576 * 512 + 1536 + 1536 * H + 18432 * 1536)
EVERY_LAYER = 93 * (6 * H + 2 * 12288 * H)
"""Two norms, two more with a row each for earlier residuals, output gate and o_proj."""
EXPERTS = 92 * 896 * 3 * 3072 * 3584
BESIDE_EXPERTS = 92 * (896 * H + 2 * 3584 * H + 3584 + 3 * 6144 * H)
REST = DELTA + LATENT + EVERY_LAYER + BESIDE_EXPERTS + 3 * 33792 * H + 2 * 163840 * H + 3 * H
DECAYS, PADDED_DECAYS, BIASES = 69 * 96, 69 * 128, 92 * 896
"""A_log of 96 heads, stored for 128; the router's biases, which are buffers in transformers."""
TOWER = (
    27 * (2 * 4096 * 1024 + 2 * 1024 + 1024 * 1536 + 4608 * 1024)
    + (64 * 64 + 1) * 1024
    + 3 * 14 * 14 * 1024
    + (4096 + 1) * H
    + 4096**2
)


def test_kimi_k3_has_the_tensors_of_its_files() -> None:
    model = parse(K3)
    found = count(model)
    assert found.total == REST + EXPERTS + DECAYS == 2_779_484_393_568
    assert found.towers == TOWER == 447_358_976
    assert not model.parameters_elsewhere
    assert model.layer_counts == {"kda": 69, "mla": 24}


def test_kimi_k3_has_the_bytes_of_its_files_but_for_what_they_hold_in_float32() -> None:
    model = parse(K3)
    packed = EXPERTS // 2 + EXPERTS // 32
    files = packed + 2 * (REST - IN_FLOAT32 + TOWER) + 4 * (IN_FLOAT32 + PADDED_DECAYS + BIASES)
    assert files == 1_560_860_324_864  # metadata.total_size of model.safetensors.index.json
    kept = weights_bytes(assign(model, "auto")).total + 2 * TOWER
    assert kept == packed + 2 * (REST + DECAYS + TOWER)


def test_kimi_k3_keeps_latents_and_one_matrix_per_head() -> None:
    model = parse(K3)
    assert cache_bytes(model, 1000) == 24 * 1000 * 2 * (512 + 64)
    states = {s.name: s.elements for g in model.groups if g.kind == "kda" for s in g.state()}
    assert states == {"conv": 3 * 12288 * 4, "recurrent": 96 * 128 * 128}


def test_what_kimi_linear_lacks_of_k3_is_left_out() -> None:
    plain = {k: v for k, v in TEXT.items() if k not in ("attn_res_block_size", "hidden_act")}
    residuals = 93 * 4 * H + 2 * H
    assert count(parse(TEXT)).total - count(parse(plain)).total == residuals
    unnormed = {**TEXT, "latent_moe_use_norm": False}
    assert count(parse(TEXT)).total - count(parse(unnormed)).total == 92 * 3584
    with pytest.raises(ConfigRefused, match="routed_expert_hidden_size"):
        parse({**TEXT, "routed_expert_hidden_size": 0})


def test_kimi_linear_48b_has_the_tensors_of_its_files() -> None:
    """49,122,681,728 elements, by scripts/models/kimi_linear_48b_a3b_instruct.md; 26 x 256 biases
    of routers among them."""
    full = [4, 8, 12, 16, 20, 24, 27]
    config = {
        "model_type": "kimi_linear", "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 27, "num_attention_heads": 32, "num_key_value_heads": 32,
        "vocab_size": 163840, "q_lora_rank": None, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "num_experts": 256, "num_experts_per_token": 8,
        "num_shared_experts": 1, "moe_intermediate_size": 1024, "first_k_dense_replace": 1,
        "tie_word_embeddings": False, "linear_attn_config": {
            "full_attn_layers": full, "kda_layers": [i for i in range(1, 28) if i not in full],
            "head_dim": 128, "num_heads": 32, "short_conv_kernel_size": 4,
        },
    }  # fmt: skip
    assert count(parse(config)).total == 49_122_681_728 - 26 * 256


LING_3_TINY: dict[str, Any] = {
    "model_type": "bailing_hybrid", "hidden_size": 1536, "intermediate_size": 4608,
    "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 128,
    "vocab_size": 157184, "layer_group_size": 4, "short_conv_kernel_size": 4, "no_kda_lora": True,
    "kda_safe_gate": True, "kda_lower_bound": -5, "qk_head_dim": 192, "qk_nope_head_dim": 128,
    "gated_attention_proj_granularity_type": "head_wise", "qk_rope_head_dim": 64,
    "v_head_dim": 128, "q_lora_rank": 256, "kv_lora_rank": 512, "use_qk_norm": True,
    "first_k_dense_replace": 1, "num_experts": 128, "num_experts_per_tok": 8, "topk_group": 4,
    "num_shared_experts": 1, "moe_intermediate_size": 512, "n_group": 8,
    "moe_shared_expert_intermediate_size": 512, "moe_router_enable_expert_bias": True,
    "tie_word_embeddings": False, "dtype": "bfloat16",
}  # fmt: skip


def test_ling_3_tiny_as_published() -> None:
    """transformers 5.24 on the meta device and mlx_lm 0.32.2 make the same of both."""
    model = parse(LING_3_TINY)
    assert count(model).total == 7_893_389_856
    assert model.layer_counts == {"kda": 18, "mla": 6}
    assert count(parse({**LING_3_TINY, "q_lora_rank": None})).total == 7_914_621_984


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("no_kda_lora", False), ("use_qkv_bias", True),
        ("gated_attention_proj_granularity_type", "element_wise"),
        ("moe_shared_expert_intermediate_size", 256),
    ],
)  # fmt: skip
def test_ling_3_of_other_layers_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigRefused, match=field):
        parse({**LING_3_TINY, field: value})
