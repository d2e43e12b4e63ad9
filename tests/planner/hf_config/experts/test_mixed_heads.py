"""Step 3 and 3.5, and MiMo-V2.5: layers whose heads are not those of all others."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import cache_bytes

STEP_3 = {
    "model_type": "step3p5", "vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 5,
    "num_attention_heads": 4, "num_attention_groups": 2, "intermediate_size": 96, "head_dim": 16,
    "moe_num_experts": 6, "moe_top_k": 2, "moe_intermediate_size": 24, "share_expert_dim": 40,
    "sliding_window": 16, "num_nextn_predict_layers": 1,
    "layer_types": ["full_attention", "sliding_attention", "sliding_attention"] * 2,
    "attention_other_setting": {"num_attention_heads": 6},
}  # fmt: skip


def test_step_3_reads_its_own_names_and_its_window_layers_heads() -> None:
    """243936 is Step3p7TextModel of transformers 5.23 on the meta device, with its head."""
    model = parse(STEP_3)
    assert count(model).total == 243936
    assert [len(g.layers) for g in model.groups if g.kind == "sliding"] == [2, 1]
    assert cache_bytes(model, 1024) == 2 * 2 * 2 * 16 * (2 * 1024 + 3 * 16)


def test_step_3_without_its_window_layers_heads_is_refused() -> None:
    config = {k: v for k, v in STEP_3.items() if k != "attention_other_setting"}
    with pytest.raises(ConfigRefused, match="num_sliding_attention_heads"):
        parse(config)


STEP_3_TEXT = {
    "model_type": "step3_text", "hidden_size": 7168, "intermediate_size": 18432,
    "num_attention_heads": 64, "num_attention_groups": 1, "num_hidden_layers": 61,
    "max_seq_len": 65536, "vocab_size": 128815, "moe_intermediate_size": 5120,
    "moe_num_experts": 48, "moe_top_k": 3, "share_expert_dim": 5120, "share_q_dim": 2048,
    "head_dim": 256, "norm_expert_weight": False,
    "moe_layers_enum": ",".join(str(layer) for layer in range(4, 60)),
}  # fmt: skip


def test_step_3_has_one_head_of_keys_and_queries_of_a_shared_width() -> None:
    """Tensors as SGLang 0.5.23 declares them (Step3TextDecoderLayer), with Step3TextConfig's sizes.

    Its report states 316 billion parameters for the language model (arXiv 2507.19427).
    """
    attention = 7168 * (2048 + 2 * 256) + 2048 + 2048 * 64 * 256 + 64 * 256 * 7168
    experts = 49 * 3 * 7168 * 5120 + 48 * 7168
    layers = 61 * (attention + 2 * 7168) + 5 * 3 * 7168 * 18432 + 56 * experts
    model = parse({"model_type": "step3_vl", "text_config": STEP_3_TEXT})
    assert count(model).total == layers + 2 * 128815 * 7168 + 7168 == 316_294_538_240
    assert cache_bytes(model, 1000) == 61 * 1000 * 2 * 256 * 2
    with pytest.raises(ConfigRefused, match="num_key_value_heads"):
        parse({**STEP_3_TEXT, "num_attention_groups": 2})
    with pytest.raises(ConfigRefused, match="moe_layers_enum"):
        parse({k: v for k, v in STEP_3_TEXT.items() if k != "moe_layers_enum"})


def mimo(full: set[int], layers: int, hidden: int, kv: int, **sizes: int) -> dict[str, Any]:
    """The fields that MiMo-V2.5 and MiMo-V2.5-Pro share."""
    return {
        "model_type": "mimo_v2", "hidden_size": hidden, "num_hidden_layers": layers,
        "intermediate_size": 16384, "moe_intermediate_size": 2048, "head_dim": 192,
        "v_head_dim": 128, "swa_head_dim": 192, "swa_v_head_dim": 128, "num_key_value_heads": kv,
        "swa_num_key_value_heads": 8, "swa_num_attention_heads": sizes["num_attention_heads"],
        "hybrid_layer_pattern": [int(index not in full) for index in range(layers)],
        "moe_layer_freq": [0] + [1] * (layers - 1), "n_shared_experts": None,
        "num_experts_per_tok": 8, "attention_projection_layout": "fused_qkv",
        "add_full_attention_sink_bias": False, "add_swa_attention_sink_bias": True,
        "sliding_window": 128, "sliding_window_size": 128, "attention_chunk_size": 128,
        "vocab_size": 152576, "tie_word_embeddings": False, "torch_dtype": "bfloat16", **sizes,
    }  # fmt: skip


MIMO_PRO = mimo(
    {0, 7, 15, 23, 31, 39, 47, 54, 62, 69}, 70, 6144, 8, num_attention_heads=128,
    n_routed_experts=384,
)  # fmt: skip
MIMO = mimo(
    {0, *range(5, 48, 6)}, 48, 4096, 4, num_attention_heads=64, n_routed_experts=256
)  # fmt: skip


def test_mimo_has_the_tensors_of_its_files() -> None:
    """Shapes from github.com/gogongxt/python (scripts/models/mimo_v2.5.md, mimo_v2.5_pro.md)."""
    h = 6144
    layers = 70 * (2 * h + h * 16384 + 27136 * h) + 60 * 128 + 3 * h * 16384
    experts = 69 * (384 * 3 * 2048 * h + 384 * h)
    assert count(parse(MIMO_PRO)).total == layers + experts + 2 * 152576 * h + h
    h = 4096
    layers = 48 * (2 * h + h * 8192) + 9 * 13568 * h + 39 * (14848 * h + 64) + 3 * h * 16384
    experts = 47 * (256 * 3 * 2048 * h + 256 * h)
    towers = {"vision_config": {"depth": 28}, "audio_config": {"audio_channels": 20}}
    found = parse({**MIMO, **towers, "processor_config": {"fps": 1}, "vision_model_type": "mimovl"})
    assert count(found).total == layers + experts + 2 * 152576 * h + h
    assert found.parameters_elsewhere == ("vision_config", "audio_config")


def test_mimo_keeps_windows_of_twice_the_heads() -> None:
    """128 tokens before the newest one, as sliding_window_size counts them."""
    wide = 2 * (192 + 128)
    assert cache_bytes(parse(MIMO), 1000) == wide * (9 * 4 * 1000 + 39 * 8 * 129)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hybrid_layer_pattern", None), ("hybrid_layer_pattern", [0, 1]),
        ("hybrid_layer_pattern", [0] * 47 + [2]), ("moe_layer_freq", 1), ("moe_layer_freq", None),
        ("swa_num_key_value_heads", None), ("layer_types", ["full_attention"] * 48),
        ("attention_projection_layout", "latent"),
    ],
)  # fmt: skip
def test_mimo_that_does_not_say_its_layers_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigRefused, match=field):
        parse({**MIMO, field: value})
