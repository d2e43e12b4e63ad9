"""Encoders with a `model_type` of their own and the projectors behind them.

The sums of tower and projector are those of the transformers 5.24 classes built without memory from
these very fields; whole models beside them are the published counts.
"""

from typing import Any

import pytest

from planner.engines.vision_tower import tower_of
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import text

CLIP = {
    "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
    "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14, "image_size": 336,
    "projection_dim": 768, "vocab_size": 32000,
}  # fmt: skip
SIGLIP = {
    "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
    "num_hidden_layers": 26, "num_attention_heads": 16, "patch_size": 14, "image_size": 384,
    "vision_use_head": False,
}  # fmt: skip
DEEPER = {**SIGLIP, "num_hidden_layers": 27}
PIXTRAL = {
    "model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "head_dim": 64,
    "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 16, "image_size": 1024,
    "hidden_act": "silu", "rope_theta": 10000.0,
}  # fmt: skip
VICUNA = {"model_type": "llama", "vocab_size": 32064, "rms_norm_eps": 1e-05}
MISTRAL = {
    "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 32064, "sliding_window": None,
}  # fmt: skip
CHOICE = {"vision_feature_layer": -2, "vision_feature_select_strategy": "default"}


@pytest.mark.parametrize(
    ("wrapper", "total", "towers"),
    [
        ({"model_type": "llava", "text_config": VICUNA, "vision_config": CLIP, **CHOICE},
         7_063_427_072, 324_487_168),
        ({"model_type": "llava_next", "text_config": MISTRAL, "vision_config": CLIP, **CHOICE,
          "use_image_newline_parameter": True}, 7_566_747_648, 324_491_264),
    ],
    ids=["llava-1.5-7b-hf", "llava-v1.6-mistral-7b-hf"],
)  # fmt: skip
def test_llava_as_published(wrapper: dict[str, Any], total: int, towers: int) -> None:
    found = parse({**wrapper, "projector_hidden_act": "gelu", "image_token_index": 32000})
    assert count(found).towers == towers
    assert count(found).total + towers == total
    assert found.parameters_elsewhere == ()


PALIGEMMA = {**DEEPER, "image_size": 224, "num_image_tokens": 256, "projection_dim": 2048,
             "projector_hidden_act": "gelu_fast"}  # fmt: skip
AYA = {**DEEPER, "image_size": 364}
COMMAND = {**DEEPER, "patch_size": 16, "image_size": 512, "num_attention_heads": 12}
GLM = {
    "model_type": "glm4v", "attention_bias": False, "depth": 24, "hidden_size": 1536,
    "image_size": 336, "in_channels": 3, "intermediate_size": 13696, "num_heads": 12,
    "out_hidden_size": 4096, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
}  # fmt: skip
INTERN = {
    "model_type": "internvl_vision", "attention_bias": True, "hidden_size": 1024,
    "image_size": [448, 448], "intermediate_size": 4096, "layer_scale_init_value": 0.1,
    "norm_type": "layer_norm", "num_attention_heads": 16, "num_hidden_layers": 24,
    "patch_size": [14, 14], "use_absolute_position_embeddings": True, "use_mask_token": False,
    "use_mean_pooling": True, "use_qk_norm": False,
}  # fmt: skip
SIGLIP2 = {
    "model_type": "siglip2_vision_model", "hidden_size": 1152, "intermediate_size": 4304,
    "num_hidden_layers": 26, "num_attention_heads": 16, "num_patches": 256, "patch_size": 16,
    "vision_use_head": False,
}  # fmt: skip
LFM2 = {
    "downsample_factor": 2, "projector_hidden_size": 2560, "projector_hidden_act": "gelu",
    "do_image_splitting": True, "encoder_patch_size": 16, "max_image_tokens": 256,
    "max_num_patches": 1024, "max_pixels_tolerance": 2.0, "max_tiles": 10, "min_image_tokens": 64,
    "min_tiles": 2, "tile_size": 512, "use_image_special_tokens": True, "use_thumbnail": True,
}  # fmt: skip
SAVED_M3 = {
    "model_type": "minimax_m3_vl_vision", "hidden_size": 1280, "image_size": 2016,
    "intermediate_size": 5120, "num_attention_heads": 16, "num_channels": 3,
    "num_hidden_layers": 32, "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "axial"},
}  # fmt: skip
SMOL = {
    "model_type": "smolvlm_vision", "hidden_size": 1152, "image_size": 384,
    "intermediate_size": 4304, "max_image_size": {"longest_edge": 384}, "num_attention_heads": 16,
    "num_hidden_layers": 27, "patch_size": 14, "size": {"longest_edge": 1920},
    "tie_word_embeddings": False, "use_base_siglip": False,
}  # fmt: skip
IDEFICS = {**DEEPER, "model_type": "idefics3_vision", "image_size": 364}
del IDEFICS["vision_use_head"]
HEADED = {name: value for name, value in SIGLIP.items() if name != "vision_use_head"}


@pytest.mark.parametrize(
    ("model_type", "hidden_size", "vision", "beside", "towers"),
    [
        ("llava", 5120, CLIP, {}, 334_974_976),
        ("llava", 512, CLIP, {"vision_feature_layer": [-2, -5],
                              "multimodal_projector_bias": False}, 304_818_176),
        ("llava", 896, HEADED, {}, 414_822_896),
        ("llava", 5120, PIXTRAL, {"vision_feature_layer": -1}, 434_957_312),
        ("llava", 4096, {"model_type": "clip_vision_model"}, {}, 107_387_136),
        ("llava", 4096, {"model_type": "siglip_vision_model"}, {}, 112_815_360),
        ("llava_next_video", 4096, CLIP, {"spatial_pool_mode": "average",
                                          "spatial_pool_stride": 2}, 324_491_264),
        ("llava_onevision", 896, SIGLIP, {}, 399_585_440),
        ("vipllava", 4096, CLIP, {"projector_layernorm_eps": 1e-05}, 341_274_624),
        ("vipllava", 4096, CLIP, {"vision_feature_layers": [-2, -5, -8, -11, 6]}, 341_274_624),
        ("video_llava", 4096, {**CLIP, "image_size": 224}, {}, 627_339_264),
        ("paligemma", 2048, PALIGEMMA, {"projection_dim": 2048}, 414_803_696),
        ("aya_vision", 4096, AYA, {"adapter_layer_norm_eps": 1e-06, "downsample_factor": 2,
                                   "alignment_intermediate_size": 28672}, 603_809_008),
        ("cohere2_vision", 1024, COMMAND, {"downsample_factor": 2,
                                           "alignment_intermediate_size": 36864}, 602_316_016),
        ("glm4v", 4096, GLM, {}, 892_498_432),
        ("lfm2_vl", 2048, SIGLIP2, {**LFM2, "projector_bias": True}, 414_463_392),
        ("lfm2_vl", 2048, {**SIGLIP2, "vision_use_head": True},
         {"projector_hidden_size": 2560, "projector_use_layernorm": False,
          "projector_bias": False}, 429_687_920),
        ("minimax_m3_vl", 6144, SAVED_M3, {"projector_hidden_size": 6144,
                                           "merged_hidden_size": 24576}, 865_567_232),
        ("internvl", 3584, INTERN, {"downsample_ratio": 0.5}, 331_552_768),
        ("smolvlm", 2048, SMOL, {"scale_factor": 3}, 434_220_912),
        ("idefics3", 4096, IDEFICS, {"scale_factor": 2}, 431_800_560),
        ("mistral3", 5120, PIXTRAL, {"vision_feature_layer": [-1, -2]}, 444_385_280),
        ("gemma3", 2304, {**SIGLIP, "image_size": 896, "vision_use_head": True}, {}, 419_520_240),
    ],
)  # fmt: skip
def test_a_tower_and_its_projector_have_the_size_of_their_class(
    model_type: str, hidden_size: int, vision: dict[str, Any], beside: dict[str, Any], towers: int
) -> None:
    config = {
        "model_type": model_type, "text_config": text(hidden_size), "vision_config": vision,
        **beside,
    }  # fmt: skip
    found = parse(config)
    assert count(found).towers == towers
    assert found.parameters_elsewhere == ()
    loaded = tower_of(config, found)
    assert loaded is not None
    assert loaded.parameters == towers
    widths = (loaded.hidden_size, loaded.intermediate_size, loaded.layers)
    inner = vision.get("out_hidden_size", vision.get("intermediate_size", 3072))
    layers = vision.get("depth", vision.get("num_hidden_layers", 12))
    assert widths == (vision.get("hidden_size", 768), inner, layers)


def test_fuyus_patches_need_no_tower() -> None:
    """30 x 30 patches of three colours, to 4,096; transformers 5.24 makes 9,408,238,592 of all."""
    text = {
        "model_type": "persimmon", "hidden_size": 4096, "intermediate_size": 16384,
        "num_hidden_layers": 36, "num_attention_heads": 64, "vocab_size": 262144,
        "qk_layernorm": True,
    }  # fmt: skip
    config = {"model_type": "fuyu", "patch_size": 30, "num_channels": 3, "image_size": 300,
              "text_config": text}  # fmt: skip
    found = parse(config)
    assert count(found).towers == 30 * 30 * 3 * 4096 + 4096
    assert count(found).total + count(found).towers == 9_408_238_592
    loaded = tower_of(config, found)
    assert loaded is not None
    assert loaded.parameters == 30 * 30 * 3 * 4096 + 4096


def test_smolvlm_as_published_has_no_perceiver() -> None:
    """SmolVLM2-2.2B names one and says that it is not used: 2,246,784,880 parameters."""
    text = {
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "head_dim": 64,
        "num_hidden_layers": 24, "num_attention_heads": 32, "num_key_value_heads": 32,
        "vocab_size": 49280, "is_llama_config": True, "neftune_noise_alpha": 0.0,
        "pixel_shuffle_factor": 3, "use_resampler": False, "qk_layer_norms": False,
        "perceiver_config": {"model_type": "vllama3", "resampler_depth": 6},
    }  # fmt: skip
    config = {"model_type": "smolvlm", "scale_factor": 3, "tie_word_embeddings": False,
              "text_config": text, "vision_config": SMOL}  # fmt: skip
    found = parse(config)
    assert count(found).total + count(found).towers == 2_246_784_880
    assert found.parameters_elsewhere == ()


@pytest.mark.parametrize(
    "change",
    [
        {"vision_config": {**CLIP, "model_type": "eva_vision_model"}},
        {"vision_config": {**CLIP, "extra_blocks": 3}},
        {"vision_config": {**CLIP, "image_size": [336, 336]}},
        {"vision_config": {**INTERN, "norm_type": "group_norm"}},
        {"vision_config": {**INTERN, "image_size": [448, 224]}},
        {"vision_feature_layer": []},
        {"projector_hidden_act": "prelu"},
        {"projector_hidden_size": 512},
        {"model_type": "llava_next_video", "spatial_pool_mode": "conv"},
        {"model_type": "paligemma", "projection_dim": 1152},
    ],
)
def test_what_is_not_understood_leaves_the_tower_uncounted(change: dict[str, Any]) -> None:
    config = {"model_type": "llava", "text_config": text(512), "vision_config": CLIP, **change}
    found = parse(config)
    assert count(found).towers == 0
    assert found.parameters_elsewhere == ("vision_config",)


def test_pixtrals_tower_in_mistral_3() -> None:
    """Mistral-Small-3.1's vision_config as published; the sum is transformers 5.24's too."""
    vision = {
        "model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "head_dim": 64,
        "image_size": 1540, "num_attention_heads": 16, "num_channels": 3, "num_hidden_layers": 24,
        "patch_size": 14, "hidden_act": "silu", "attention_dropout": 0.0, "rope_theta": 10000.0,
    }  # fmt: skip
    text = {
        "model_type": "mistral", "hidden_size": 5120, "intermediate_size": 32768, "head_dim": 128,
        "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 131072, "sliding_window": None,
    }  # fmt: skip
    around = {"model_type": "mistral3", "multimodal_projector_bias": False, "spatial_merge_size": 2}
    found = parse({**around, "vision_config": vision, "text_config": text})
    layer = 4 * 1024**2 + 3 * 1024 * 4096 + 2 * 1024
    joined = 4 * 1024 * 1024 + 1024 + 1024 * 5120 + 5120**2
    assert count(found).towers == 24 * layer + 3 * 14 * 14 * 1024 + 1024 + joined == 438_958_080
    assert found.parameters_elsewhere == ()
    wide = {**around, "vision_config": {**vision, "extra_blocks": 3}, "text_config": text}
    assert count(parse(wide)).towers == 0
