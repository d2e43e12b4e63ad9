"""Whole models, towers for images and sound included.

Each class of transformers 5.24 with two sets of fields, counted by make_counted_towers.py; and
families whose code is published beside their weights, against sums of parts counted elsewhere.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.engines.vision_tower import tower_of
from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.model import Model
from planner.parameters import count
from tests.planner.test_hf_config_towers import text

DATA = json.loads((Path(__file__).parent / "data" / "counted_towers.json").read_text())
CASES = [
    pytest.param(case, id=f"{case['config']['model_type']}-{i % 2}")
    for i, case in enumerate(DATA["cases"])
]


def parameters(model: Model) -> int:
    found = count(model)
    return found.total + found.towers


@pytest.mark.parametrize("case", CASES)
def test_a_whole_class_is_counted(case: dict[str, Any]) -> None:
    found = parse(case["config"])
    assert found.parameters_elsewhere == ()
    assert parameters(found) == case["parameters"]
    loaded = tower_of(case["config"], found)
    assert loaded is not None
    assert loaded.parameters == count(found).towers


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
    assert parameters(found) == expected


def test_kimi_vls_tower_by_hand() -> None:
    """MoonViT: 27 layers of 1,152 and 4,304 wide, a 64 x 64 grid, 14 x 14 patches of 3 colours."""
    size, inner, wide = 1152, 4304, 4 * 1152
    layer = 4 * (size + 1) * size + (size + 1) * inner + (inner + 1) * size + 4 * size
    tower = 27 * layer + 64 * 64 * size + (3 * 14 * 14 + 1) * size + 2 * size
    projector = 2 * size + (wide + 1) * wide + (wide + 1) * 2048
    vision = {
        "model_type": "moonvit", "patch_size": 14, "num_attention_heads": 16,
        "num_hidden_layers": 27, "hidden_size": size, "intermediate_size": inner,
        "merge_kernel_size": [2, 2],
    }  # fmt: skip
    found = parse({"model_type": "kimi_vl", "text_config": text(2048), "vision_config": vision})
    assert count(found).towers == tower + projector


def test_gemma_3ns_eye_and_ear() -> None:
    """681,348,640 + 3,345,408 of sound by transformers, 294,126,912 of MobileNetV5 by timm 1.0.31
    and 4,460,544 of its embedder."""
    vision = {
        "model_type": "gemma3n_vision", "architecture": "mobilenetv5_300m_enc", "vocab_size": 128,
        "hidden_size": 2048, "vocab_offset": 262144, "do_pooling": False, "num_classes": 2,
        "label_names": ["LABEL_0", "LABEL_1"],
    }  # fmt: skip
    config = {
        "model_type": "gemma3n", "text_config": text(2048), "vision_config": vision,
        "audio_config": {"model_type": "gemma3n_audio"},
    }  # fmt: skip
    sound, sight = 681_348_640 + 3_345_408, 294_126_912 + 4_460_544
    assert count(parse(config)).towers == sound + sight
    vision["architecture"] = "mobilenetv4_conv_small"
    found = parse(config)
    assert (count(found).towers, found.parameters_elsewhere) == (sound, ("vision_config",))
    assert found.tower_name == "audio tower"


def test_deep_stacks_that_are_not_named_are_those_of_the_class() -> None:
    """Three mergers more where Qwen3-VL's class gives layers 8, 16 and 24; none in Qwen3.5's."""
    vision = {"model_type": "qwen3_vl", "out_hidden_size": 64, "depth": 2}
    config = {"model_type": "qwen3_vl", "text_config": text(64), "vision_config": vision}
    absent = count(parse(config)).towers
    vision["deepstack_visual_indexes"] = [8, 16, 24]
    assert count(parse(config)).towers == absent
    vision["deepstack_visual_indexes"] = []
    merged = 4 * 1152
    assert absent - count(parse(config)).towers == 3 * (merged * merged + merged * 67 + 64)


def test_a_tower_that_is_not_understood_is_estimated_beside_one_that_is() -> None:
    vision = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 64}
    sound = {"output_dim": 64, "encoder_layers": 2}
    config = {
        "model_type": "qwen2_5_omni_thinker", "text_config": text(64), "vision_config": vision,
        "audio_config": sound,
    }  # fmt: skip
    known = parse(config)
    assert known.tower_name == "vision and audio towers"
    unknown = {**config, "vision_config": {**vision, "extra_layers": 3}}
    found = parse(unknown)
    assert found.parameters_elsewhere == ("vision_config",)
    whole, estimated = tower_of(config, known), tower_of(unknown, found)
    assert whole is not None
    assert estimated is not None
    assert estimated.parameters == pytest.approx(whole.parameters, rel=0.1)


def test_every_object_beside_the_decoder_is_named_or_counted() -> None:
    config = {
        "model_type": "llava", "text_config": text(64), "codec_config": {"hidden_size": 512},
        "image_processor_config": {"size": 336},
    }  # fmt: skip
    assert parse(config).parameters_elsewhere == ("codec_config",)


def test_ovis_sizes_its_head_by_the_outer_vocabulary() -> None:
    decoder = text(64, model_type="qwen2", num_key_value_heads=8)
    config = {"model_type": "ovis2", "text_config": decoder, "vocab_size": 320}
    assert count(parse(config)).head == 320 * 64
    with pytest.raises(ConfigRefused, match="vocab_size: 151643"):
        parse({**config, "vocab_size": 151643})


def test_ernies_tower_under_its_publishers_names() -> None:
    """630,433,280 of the tower and 144,225,280 of the resampler, as transformers' own 28B."""
    vision = {
        "model_type": "DFNRope_vision_transformer", "attn_sep": True, "depth": 32,
        "embed_dim": 1280, "hidden_size": 1280, "in_channels": 3, "in_chans": 3, "mlp_ratio": 4,
        "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
    }  # fmt: skip
    config = {
        "model_type": "ernie4_5_moe_vl", "hidden_size": 2560, "intermediate_size": 12288,
        "num_attention_heads": 20, "num_key_value_heads": 4, "num_hidden_layers": 28,
        "vocab_size": 103424, "moe_num_experts": [64, 64], "moe_intermediate_size": [1536, 512],
        "moe_k": 6, "moe_layer_start_index": [1, 1], "moe_layer_end_index": [28, 28],
        "moe_num_shared_experts": 2, "tie_word_embeddings": True, "im_patch_id": 100295,
        "pixel_hidden_size": 1280, "spatial_conv_size": 2, "temporal_conv_size": 2,
        "use_temporal_conv": True, "vision_config": vision,
    }  # fmt: skip
    assert count(parse(config)).towers == 630_433_280 + 144_225_280
    with pytest.raises(ConfigRefused, match="use_temporal_conv"):
        parse({**config, "use_temporal_conv": False})


def test_ultravox_by_hand() -> None:
    """Whisper's encoder, then eight frames of 1,280 to 512, halved by the gate, to 64."""
    sound = {
        "model_type": "whisper", "d_model": 1280, "encoder_ffn_dim": 5120, "encoder_layers": 2,
        "encoder_attention_heads": 20, "num_mel_bins": 128, "decoder_layers": 4,
    }  # fmt: skip
    config = {
        "model_type": "ultravox", "architectures": ["UltravoxModel"], "text_config": text(64),
        "audio_config": sound, "hidden_size": 512, "projector_act": "swiglu", "stack_factor": 8,
        "projector_ln_mid": True, "norm_init": 0.4, "num_projector_layers": 0,
        "text_model_lora_config": {"r": 0},
    }  # fmt: skip
    size, inner = 1280, 5120
    layer = 4 * size * size + 3 * size + 2 * size * inner + inner + size + 4 * size
    around = (3 * 128 + 1) * size + (3 * size + 1) * size + 1500 * size + 2 * size
    projector = 8 * size + 8 * size * 512 + 256 * 64 + 256
    found = parse(config)
    assert count(found).towers == 2 * layer + around + projector
    assert count(found).head == 320 * 64
    assert found.parameters_elsewhere == ()
    assert parse({**config, "num_projector_layers": 2}).parameters_elsewhere == ("audio_config",)


def test_a_thinkers_head_is_there_whatever_the_whole_is_called() -> None:
    thinker = {"model_type": "qwen2_5_omni_thinker", "text_config": text(64)}
    config = {
        "model_type": "qwen2_5_omni", "architectures": ["Qwen2_5OmniModel"],
        "thinker_config": thinker, "talker_config": {"hidden_size": 896},
    }  # fmt: skip
    assert count(parse(config)).head == 320 * 64
    assert parse(config).parameters_elsewhere == ("talker_config",)


@pytest.mark.parametrize(
    ("model_type", "fields", "windows"),
    [
        ("voxtral_realtime_text", {"sliding_window": 256}, [256, 256]),
        ("voxtral_realtime_text", {"sliding_window": None}, [None, None]),
        ("qwen2_5_omni_text", {"sliding_window": 256, "use_sliding_window": True,
                               "max_window_layers": 1}, [None, 256]),
        ("qwen2_5_omni_text", {"sliding_window": 256}, [None, None]),
        ("phi4_multimodal", {"sliding_window": 256}, [256, 256]),
        ("molmo2_text", {}, [None, None]),
    ],
)  # fmt: skip
def test_a_decoder_beside_towers_keeps_what_its_class_keeps(
    model_type: str, fields: dict[str, Any], windows: list[int | None]
) -> None:
    """Windows of the cache layers that transformers 5.24 makes for these fields."""
    config = text(512, model_type=model_type, num_hidden_layers=2, num_key_value_heads=2, **fields)
    found = parse(config)
    kept = [t.window for g in found.groups for t in g.cache()[:1] for _ in range(g.count)]
    assert kept == windows
