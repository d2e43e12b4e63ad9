"""Layers that predict further tokens, against the tensors of published files.

Sources: the lists of tensors of GLM-4.7-Flash's and Qwen3.5-0.8B-Base's safetensors (their own
copies of embedding and head, which engines share, left out); for Hy3 and GLM-OCR the modules of
SGLang 0.5.23 (models/hunyuan_v3_nextn, glm_ocr_nextn), added up, and the decoders of transformers
5.24 on the meta device.
"""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count

GLM_4_7_FLASH = {
    "model_type": "glm4_moe_lite", "attention_bias": False, "first_k_dense_replace": 1,
    "hidden_size": 2048, "intermediate_size": 10240, "kv_lora_rank": 512,
    "moe_intermediate_size": 1536, "n_routed_experts": 64, "n_shared_experts": 1,
    "num_attention_heads": 20, "num_experts_per_tok": 4, "num_hidden_layers": 47,
    "num_key_value_heads": 20, "num_nextn_predict_layers": 1, "q_lora_rank": 768,
    "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "tie_word_embeddings": False,
    "v_head_dim": 256, "vocab_size": 154880,
}  # fmt: skip
QWEN3_5_0_8B = {
    "model_type": "qwen3_5_text", "attn_output_gate": True, "full_attention_interval": 4,
    "head_dim": 256, "hidden_size": 1024, "intermediate_size": 3584, "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 16,
    "linear_value_head_dim": 128, "mtp_num_hidden_layers": 1,
    "mtp_use_dedicated_embeddings": False, "num_attention_heads": 8, "num_hidden_layers": 24,
    "num_key_value_heads": 2, "tie_word_embeddings": True, "vocab_size": 248320,
}  # fmt: skip
HY3 = {
    "model_type": "hy_v3", "num_hidden_layers": 80, "num_nextn_predict_layers": 1,
    "hidden_size": 4096, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128,
    "qk_norm": True, "vocab_size": 120832, "intermediate_size": 13312,
    "first_k_dense_replace": 1, "num_experts": 192, "num_experts_per_tok": 8,
    "num_shared_experts": 1, "expert_hidden_dim": 1536, "moe_intermediate_size": 1536,
    "moe_router_use_sigmoid": True, "moe_router_enable_expert_bias": True,
    "use_grouped_mm": True, "enable_moe_fp32_combine": True, "tie_word_embeddings": False,
}  # fmt: skip
GLM_OCR = {
    "model_type": "glm_ocr_text", "attention_bias": False, "head_dim": 128, "hidden_size": 1536,
    "intermediate_size": 4608, "num_attention_heads": 16, "num_hidden_layers": 16,
    "num_key_value_heads": 8, "num_nextn_predict_layers": 1, "tie_word_embeddings": False,
    "vocab_size": 59392,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "decoder", "further"),
    [
        (GLM_4_7_FLASH, 29_943_390_976, 31_221_488_576 - 47 * 64 - 2 * 154880 * 2048),
        (QWEN3_5_0_8B, 752_393_024, 873_438_784 - 100_592_896),
        (HY3, 295_033_528_320, 295_033_528_320 + 3_752_612_096),
        (GLM_OCR, 673_285_632, 673_285_632 + 35_400_192),
    ],
    ids=["GLM-4.7-Flash", "Qwen3.5-0.8B", "Hy3", "GLM-OCR"],
)
def test_further_layers_are_those_of_the_files(
    config: dict[str, object], decoder: int, further: int
) -> None:
    found = count(parse(config))
    assert found.total == decoder
    assert found.total + found.mtp == further


def test_two_sizes_of_experts_must_agree() -> None:
    with pytest.raises(ConfigRefused, match="expert_hidden_dim=1024"):
        parse({**HY3, "expert_hidden_dim": 1024})
