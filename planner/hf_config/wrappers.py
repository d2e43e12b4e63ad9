"""Files that hold a text decoder among other parts: which object it is, what stands around it."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from planner.errors import ConfigRefused
from planner.hf_config.class_defaults import class_defaults
from planner.hf_config.reader import HARMLESS, short
from planner.hf_config.ties import share_head

TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
TOWERS = (
    "vision_config", "audio_config", "speech_config", "qformer_config", "perceiver_config",
    "img_processor", "talker_config", "code2wav_config", "token2wav_config", "vq_config",
)  # fmt: skip

NO_TOWERS = re.compile(
    r"(text|llm|language|quantization|compression|generation|thinker|img_token_compression"
    r"|.*processor|.*lora|slice)_config"
)

# Wrappers of a text model, and the text model type where the nested object does not say it.
WRAPPERS = {
    "apertus1p5": "apertus1p5_text", "aya_vision": "cohere2", "blip-2": "opt",
    "cohere2_vision": "cohere2", "cohere_compass": "cohere_compass_text",
    "cosmos3_edge": "cosmos3_edge_text", "deepseek_ocr2": "deepseek_ocr2_text",
    "deepseek_vl_v2": "deepseek_v2", "dots3_note": "dots3_note_text", "emu3": "emu3_text_model",
    "ernie4_5_vl_moe": "ernie4_5_vl_moe_text", "fuyu": "persimmon", "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text", "gemma4": "gemma4_text", "gemma4_unified": "gemma4_unified_text",
    "glm4v": "glm4v_text", "glm4v_moe": "glm4v_moe_text", "glm5_next": "glm5_next_text",
    "glm_ocr": "glm_ocr_text", "got_ocr2": "qwen2", "granite_docling": "granite_docling_text",
    "hy_v4_vl": "hy_v4_vl_text", "idefics2": "mistral", "idefics3": "llama",
    "inkling_mm_model": "inkling_text", "internvl": "qwen2", "janus": "llama",
    "kimi_k25": "deepseek_v3", "kimi_k3": "kimi_linear", "kimi_vl": "deepseek_v3",
    "lfm2_vl": "lfm2", "llama4": "llama4_text",
    "llava": "llama", "llava_next": "llama", "llava_next_video": "llama",
    "llava_onevision": "qwen2", "minimax_m3_vl": "minimax_m3_vl_text", "mistral3": "mistral",
    "mistral_large4": "mistral_large4_text", "moss_transcribe_diarize": "qwen3",
    "muse_glimmer": "muse_glimmer_text", "muse_spark": "muse_spark_text", "ovis2": "qwen2",
    "paligemma": "gemma", "qwen2_5_vl": "qwen2_5_vl_text", "qwen2_audio": "qwen2",
    "qwen2_vl": "qwen2_vl_text", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_vl": "qwen3_vl_text", "qwen3_vl_moe": "qwen3_vl_moe_text", "qwen4_exp": "qwen4_exp_text",
    "smolvlm": "llama", "step3_vl": "step3_text", "step3p7": "step3p5",
    "video_llava": "llama", "vipllava": "llama",
    "voxtral": "llama",
}  # fmt: skip

# Wrappers whose own class sizes the head, and the vocabulary where their file gives none.
HEADS = {"ovis2": 151643}

# Fields beside the text model's object that belong to towers, projectors and their tokens.
BESIDE = re.compile(
    r"""(image|video|vision|visual|audio|speech|mm|multi_?modal|projector|projection|patch|pixel
        |boi|eoi|boa|eoa|im|media|frame|slice|newline|spatial|downsample|merger?|merged|aligner
        |alignment|low_res_image|max_value_projector)s?(_.*)?
    |use_unified_vision_chunk|has_lora_adapter|window_size|default_num_delay_tokens|deepstack_layer_map|understand_projector_stride|text_model_id|norm_init|stack_factor|num_projector_layers|use_image_newline_parameter|process_image_mode|num_reward_heads|system_message|.*_config|model_type|tie_word_embeddings|num_query_tokens|use_decoder_only_language_model
    |use_image_text_matching_head|image_text_hidden_size|scale_factor|_pad_token_id|ignore_index
    |vocabulary_map|(dynamic|force)_image_size|(max|min)_dynamic_patch|use_thumbnail|ps_version
    |select_layer|template|pad2square|drop_vision_last_layer|seconds_per_chunk|num_channels
    |position_id_per_seconds|hidden_size|vocab_size|out_hidden_size|latent_query_num|insert_layer_id
    |do_image_splitting|encoder_patch_size|(max|min)_(image_tokens|num_patches|pixels_tolerance|tiles)
    |density_router_threshold|tile_size|use_image_special_tokens|candidate_resolutions|global_view_pos|tile_tag|.*_(eps|init_value|loss_weight)""",
    re.VERBOSE,
)


class Parts(NamedTuple):
    """The text decoder's own object, the whole file, fields its class filled, notes."""

    text: dict[str, Any]
    outer: Mapping[str, Any]
    filled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def split(config: Mapping[str, Any]) -> Parts:
    """The text decoder's own object and the outer one, which may be the same."""
    thinker = config.get("thinker_config")
    if isinstance(thinker, Mapping):
        parts = split(thinker)
        return parts._replace(outer={**thinker, **config})
    for name in TEXT_CONFIGS:
        nested = config.get(name)
        if isinstance(nested, Mapping):
            return from_wrapper(config, nested, name)
    return Parts(dict(config), config)


def from_wrapper(config: Mapping[str, Any], nested: Mapping[str, Any], name: str) -> Parts:
    """The parts of a file whose text decoder stands under `name`."""
    wrapper = config.get("model_type")
    text = {"model_type": WRAPPERS.get(str(wrapper), wrapper), **nested}
    for field, value in config.items():
        if BESIDE.fullmatch(field) or HARMLESS.fullmatch(field) or text.get(field) == value:
            continue
        if value not in (None, False, "", [], {}):
            raise ConfigRefused(
                f"{field}: {short(value)} beside {name} is not understood, and could change memory",
                field=field,
            )
    vocabulary = config.get("vocab_size", HEADS.get(str(wrapper)))
    if str(wrapper) in HEADS and vocabulary != text.get("vocab_size", vocabulary):
        raise ConfigRefused(
            f"vocab_size: {short(vocabulary)} is not {name}.vocab_size, and transformers sizes the "
            "head by the first where vLLM goes by the second: give both the same",
            field="vocab_size",
        )
    if text.get("use_resampler") is False:
        text.pop("perceiver_config", None)
    if wrapper == "paligemma":  # its prompt is seen both ways, which costs no memory
        text.pop("use_bidirectional_attention", None)
    note = share_head(config, text, name)
    defaults = class_defaults(str(text["model_type"]), str(wrapper))
    filled = tuple(field for field in defaults if field not in text)
    return Parts({**defaults, **text}, config, filled, note)


def parts(text: Mapping[str, Any], outer: Mapping[str, Any]) -> list[str]:
    """The objects of a file that describe weights outside the text decoder."""
    found = [name for name in TOWERS if outer.get(name) or text.get(name)]
    if all(name in text for name in outer):
        return found
    others = [
        n for n, value in outer.items() if n.endswith("_config") and isinstance(value, Mapping)
    ]
    return found + [n for n in others if outer[n] and n not in found and not NO_TOWERS.fullmatch(n)]
