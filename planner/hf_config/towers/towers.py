"""What stands beside a text decoder, where the fields settle every tensor.

A tower that is not understood gives no tensors and stays a name in Model.parameters_elsewhere; the
text decoder is planned all the same.
Source: the reference implementations in Hugging Face transformers 5.24.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from planner.errors import ConfigRefused
from planner.hf_config.reader import Fields
from planner.hf_config.towers import (
    audio_encoders,
    conformers,
    merged_encoders,
    patch_mergers,
    remote,
    resamplers,
    segment_anything,
    vision_projectors,
)
from planner.tensors import Weight

Tower = Callable[[Fields, Fields, int], tuple[Weight, ...]]
"""Weights from the tower's own fields, the outer fields and the text decoder's hidden size."""

NO_TENSORS = (
    "image_size", "vision_feature_layer", "vision_feature_select_strategy", "norm_eps",
    "pixel_shuffle_ratio", "projector_dropout", "rope_mode", "vision_segment_max_frames",
    "vocab_size", "num_heads", "num_attention_heads", "mm_tokens_per_image", "spatial_patch_size",
    "window_size", "fullatt_block_indexes", "tokens_per_second", "initializer_factor",
)  # fmt: skip
"""Fields that make no tensor, unless a tower reads them."""
JOINING = re.compile(
    r""".*project(or|ion)_.*|(adapter|alignment|downsample|spatial|temporal|merger?)_.*
    |vision_feature_layers?|select_layer|deepstack_layer_map|drop_vision_last_layer
    |scale_factor|stack_factor|norm_init|embd_layer|query_num|num_query_tokens
    |audio_(length_per_tok|merge_size)|window_size|hidden_size
    |(qformer|perceiver|high_res_vision|projector|adapter|text)_config""",
    re.VERBOSE,
)
"""Outer fields that a projector is made by."""


class Towers(NamedTuple):
    """Every tensor that is understood, and the names of the objects that describe them."""

    weights: tuple[Weight, ...] = ()
    described: frozenset[str] = frozenset()


def towers_of(config: Mapping[str, Any], hidden_size: int) -> Towers:
    """The towers of a whole configuration file that are understood."""
    weights: list[Weight] = []
    described: set[str] = set()
    for name, known in BY_PART.items():
        build = known.get(str(config.get("model_type")))
        own = config.get(name)
        if build is patch_mergers.fuyu:
            own = {n: config[n] for n in ("patch_size", "num_channels") if n in config}
        if build is None or not isinstance(own, Mapping):
            continue
        fields = Fields(own, f"{name}.")
        fields.ignore(*NO_TENSORS)
        outer = Fields({n: config[n] for n in config if JOINING.fullmatch(n)})
        outer.ignore(*NO_TENSORS, "text_config", "hidden_size")
        try:
            found = build(fields, outer, hidden_size)
            fields.finish()
            outer.finish()
        except ConfigRefused:
            continue
        weights += found
        described |= {name, *outer.read}
    return Towers(tuple(weights), frozenset(described))


VISION: dict[str, Tower] = {
    "aria": resamplers.aria,
    "aya_vision": vision_projectors.aya,
    "blip-2": resamplers.blip2,
    "cohere2_vision": vision_projectors.cohere2,
    "cosmos3_omni": patch_mergers.qwen3,
    "deepseek_ocr": remote.deepseek_ocr,
    "deepseek_ocr2": segment_anything.deepseek_ocr2,
    "deepseek_vl": vision_projectors.llava,
    "deepseek_vl_hybrid": segment_anything.deepseek_vl_hybrid,
    "deepseek_vl_v2": remote.deepseek_ocr,
    "ernie4_5_moe_vl": patch_mergers.ernie,
    "ernie4_5_vl_moe": patch_mergers.ernie,
    "exaone4_5": patch_mergers.qwen2_5,
    "fuyu": patch_mergers.fuyu,
    "gemma3": vision_projectors.gemma3,
    "gemma3n": vision_projectors.gemma3n,
    "gemma4": vision_projectors.gemma4,
    "glm46v": patch_mergers.glm4v,
    "glm4v": patch_mergers.glm4v,
    "glm4v_moe": patch_mergers.glm4v,
    "glm_ocr": patch_mergers.glm_ocr,
    "glmga": patch_mergers.glm4v,
    "got_ocr2": segment_anything.got_ocr,
    "granite4_vision": resamplers.granite4,
    "hunyuan_vl": merged_encoders.hunyuan,
    "hyperclovax_vision_v2": patch_mergers.hyperclovax,
    "idefics2": resamplers.idefics2,
    "idefics3": vision_projectors.idefics3,
    "instructblip": resamplers.instructblip,
    "instructblipvideo": resamplers.instructblip,
    "internvl": vision_projectors.internvl,
    "internvl_chat": remote.intern_chat,
    "kimi_k25": merged_encoders.kimi,
    "kimi_k3": merged_encoders.kimi,
    "kimi_vl": merged_encoders.kimi,
    "lfm2_vl": vision_projectors.lfm2,
    "lfm3_vl": merged_encoders.lfm3,
    "lighton_ocr": vision_projectors.mistral3,
    "llama4": merged_encoders.llama4,
    "llava": vision_projectors.llava,
    "llava_next": vision_projectors.llava_with_newline,
    "llava_next_video": vision_projectors.llava_with_newline,
    "llava_onevision": vision_projectors.llava_with_newline,
    "minicpm_ocr": merged_encoders.minicpm,
    "minicpmv4_6": merged_encoders.minicpm,
    "minicpmv4_7": merged_encoders.minicpm,
    "minicpmv": remote.minicpmv,
    "minimax_m3_vl": patch_mergers.minimax_m3,
    "mistral3": vision_projectors.mistral3,
    "molmo2": resamplers.molmo2,
    "ovis2": vision_projectors.ovis2,
    "paddleocr_vl": merged_encoders.paddle,
    "paligemma": vision_projectors.paligemma,
    "phi4_multimodal": vision_projectors.phi4,
    "pp_chart2table": segment_anything.got_ocr,
    "qianfan_ocr": vision_projectors.internvl,
    "qwen2_5_omni": patch_mergers.qwen2_5,
    "qwen2_5_omni_thinker": patch_mergers.qwen2_5,
    "qwen2_5_vl": patch_mergers.qwen2_5,
    "qwen2_vl": patch_mergers.qwen2,
    "qwen3_5": patch_mergers.qwen3,
    "qwen3_5_moe": patch_mergers.qwen3,
    "qwen3_omni_moe": patch_mergers.qwen3,
    "qwen3_omni_moe_thinker": patch_mergers.qwen3,
    "qwen3_vl": patch_mergers.qwen3,
    "qwen3_vl_moe": patch_mergers.qwen3,
    "shieldgemma2": vision_projectors.gemma3,
    "smolvlm": vision_projectors.idefics3,
    "step3p7": merged_encoders.step,
    "video_llama_3": vision_projectors.video_llama3,
    "video_llava": vision_projectors.video_llava,
    "vipllava": vision_projectors.vip_llava,
}
AUDIO: dict[str, Tower] = {
    "audioflamingo3": audio_encoders.audio_flamingo,
    "gemma3n": conformers.gemma3n,
    "gemma4": conformers.gemma4,
    "glmasr": audio_encoders.glm,
    "moss_transcribe_diarize": audio_encoders.moss,
    "phi4_multimodal": conformers.phi4,
    "qwen2_5_omni": audio_encoders.qwen2_5_omni,
    "qwen2_5_omni_thinker": audio_encoders.qwen2_5_omni,
    "qwen2_audio": audio_encoders.qwen2,
    "qwen3_asr": audio_encoders.qwen3,
    "qwen3_omni_moe": audio_encoders.qwen3,
    "qwen3_omni_moe_thinker": audio_encoders.qwen3,
    "ultravox": audio_encoders.ultravox,
    "voxtral": audio_encoders.voxtral,
    "voxtral_realtime": audio_encoders.voxtral_realtime,
}
BY_PART: dict[str, dict[str, Tower]] = {
    "vision_config": VISION,
    "audio_config": AUDIO,
    "encoder_config": {
        "granite_speech": conformers.granite,
        "granite_speech_plus": conformers.granite,
    },
    "img_processor": {"phi3_v": remote.phi3_vision},
}
"""The towers of each object that describes one, by the file's own `model_type`."""
