"""Towers whose code is published beside their weights: sums of parts counted elsewhere."""

from typing import Any

import pytest

from planner.hf_config import parse
from planner.parameters import count

INTERN_VIT = {
    "model_type": "intern_vit_6b", "hidden_size": 1024, "image_size": 448, "num_channels": 3,
    "intermediate_size": 4096, "norm_type": "layer_norm", "num_attention_heads": 16,
    "num_hidden_layers": 24, "patch_size": 14, "qk_normalization": False, "qkv_bias": True,
    "drop_path_rate": 0.1, "initializer_factor": 0.1, "use_flash_attn": True, "use_moe": False,
    "num_experts": 8, "moe_intermediate_size": 768, "use_residual": True,
}  # fmt: skip
QWEN2_7B = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "max_window_layers": 28,
    "use_sliding_window": False,
}  # fmt: skip
INTERNVL3 = {
    "architectures": ["InternVLChatModel"], "model_type": "internvl_chat",
    "downsample_ratio": 0.5, "dynamic_image_size": True, "force_image_size": 448,
    "max_dynamic_patch": 12, "min_dynamic_patch": 1, "pad2square": False, "ps_version": "v2",
    "select_layer": -1, "template": "internvl2_5", "use_backbone_lora": 0, "use_llm_lora": 0,
    "use_thumbnail": True, "tie_word_embeddings": False, "hidden_size": 3584,
    "llm_config": {"model_type": "qwen2", "vocab_size": 151674, **QWEN2_7B},
    "vision_config": INTERN_VIT,
}  # fmt: skip
MINICPMV = {
    "model_type": "minicpmv", "version": 2.6, "vocab_size": 151666, **QWEN2_7B,
    "batch_vision_input": True, "drop_vision_last_layer": False, "image_size": 448,
    "patch_size": 14, "query_num": 64, "slice_config": {"max_slice_nums": 9, "patch_size": 14},
    "slice_mode": True, "use_image_id": True, "vision_batch_size": 16,
    "vision_config": {
        "model_type": "siglip", "hidden_size": 1152, "image_size": 980, "intermediate_size": 4304,
        "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14,
    },
}  # fmt: skip
OCR = {
    "hidden_size": 1280, "intermediate_size": 6848, "moe_intermediate_size": 896,
    "first_k_dense_replace": 1, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2,
    "num_attention_heads": 10, "num_experts_per_tok": 6, "num_hidden_layers": 12,
    "num_key_value_heads": 10, "q_lora_rank": None, "kv_lora_rank": None, "use_mla": False,
    "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 0, "vocab_size": 129280,
    "topk_group": 1, "topk_method": "greedy", "lm_head": True, "rm_head": False,
}  # fmt: skip
DEEPSEEK_OCR = {
    "model_type": "deepseek_vl_v2", "candidate_resolutions": [[1024, 1024]], "tile_tag": "2D",
    "global_view_pos": "head", "language_config": OCR, **OCR,
    "projector_config": {
        "model_type": "mlp_projector", "input_dim": 2048, "n_embed": 1280,
        "projector_type": "linear",
    },
    "vision_config": {
        "model_type": "vision", "model_name": "deeplip_b_l", "image_size": 1024,
        "mlp_ratio": 3.7362, "width": {
            "clip-l-14-224": {
                "heads": 16, "image_size": 224, "layers": 24, "patch_size": 14, "width": 1024,
            },
            "sam_vit_b": {
                "downsample_channels": [512, 1024], "global_attn_indexes": [2, 5, 8, 11],
                "heads": 12, "layers": 12, "width": 768,
            },
        },
    },
}  # fmt: skip
PHI3_VISION = {
    "model_type": "phi3_v", "hidden_size": 3072, "intermediate_size": 8192, "vocab_size": 32064,
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
    "sliding_window": 262144, "tie_word_embeddings": False,
    "embd_layer": {
        "embedding_cls": "image", "hd_transform_order": "sub_glb", "projection_cls": "mlp",
        "use_hd_transform": True, "with_learnable_separator": True,
    },
    "img_processor": {
        "image_dim_out": 1024, "model_name": "openai/clip-vit-large-patch14-336",
        "name": "clip_vision_model", "num_img_tokens": 144,
    },
}  # fmt: skip


def deepseek_ocr_by_hand() -> int:
    """A mixture of experts over whole heads, SAM-B with two convolutions more, CLIP-L, a matrix."""
    h, s, w = 1280, 768, 1024
    experts = 64 * h + 3 * h * (64 * 896 + 2 * 896)
    text = 2 * 129280 * h + 12 * (4 * h + 2) * h + h + 3 * h * 6848 + 11 * experts
    layer = (s + 1) * 3 * s + (s + 1) * s + 4 * s + (s + 1) * 4 * s + (4 * s + 1) * s
    relative = 2 * s // 12 * (8 * (2 * 14 - 1) + 4 * (2 * 64 - 1))
    neck = s * 256 + 9 * 256 * 256 + 4 * 256 + 9 * (256 * 512 + 512 * 1024)
    sam = (3 * 16 * 16 + 1) * s + 64 * 64 * s + 12 * layer + relative + neck
    layer = (w + 1) * 3 * w + (w + 1) * w + 4 * w + (w + 1) * 4 * w + (4 * w + 1) * w
    clip = (1 + 3 * 14 * 14 + 257 + 2) * w + 24 * layer
    return text + sam + clip + (2 * w + 1) * h + 2 * h


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # transformers' own InternVL class with the same sizes
        (INTERNVL3, 304_012_288 + 27_540_480 + 7_069_221_376 + 151_674 * 3584),
        # transformers' Qwen2 and SigLIP without its head; 64 queries and a resampler by hand
        (MINICPMV, 7_612_763_648 + 417_792_240
         + (64 + 1152 + 4 * (3584 + 1) + 6 + 3584) * 3584),
        # transformers' Phi-3 and CLIP; two matrices and two separators by hand
        (PHI3_VISION, 3_821_079_552 + 303_507_456 + (4096 + 1 + 3072 + 1) * 3072 + 2 * 4096),
        (DEEPSEEK_OCR, deepseek_ocr_by_hand()),
    ],
    ids=["InternVL3-8B", "MiniCPM-V-2_6", "Phi-3.5-vision-instruct", "DeepSeek-OCR"],
)  # fmt: skip
def test_remote_code_is_the_sum_of_parts_counted_elsewhere(
    config: dict[str, Any], expected: int
) -> None:
    found = parse(config)
    assert found.parameters_elsewhere == ()
    assert count(found).total + count(found).towers == expected
