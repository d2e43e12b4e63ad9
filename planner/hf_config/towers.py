"""Vision towers and their projectors, where the fields settle every tensor.

A tower that is not understood gives no tensors and stays a name in Model.parameters_elsewhere; the
text decoder is planned all the same.
Source: the reference implementations in Hugging Face transformers 5.23.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from planner.errors import ConfigRefused
from planner.hf_config.reader import Fields
from planner.hf_config.vision_encoders import blocks, patches, positions
from planner.hf_config.vision_projectors import (
    aya,
    cohere2,
    gemma3,
    idefics3,
    internvl,
    lfm2,
    llava,
    llava_with_newline,
    mistral3,
    paligemma,
    video_llava,
    vip_llava,
)
from planner.tensors import Weight, linear, norm

Tower = Callable[[Fields, Fields, int], tuple[Weight, ...]]
"""Weights from the vision fields, the outer fields and the text decoder's hidden size."""

NUMERICS = (
    "image_size", "vision_feature_layer", "vision_feature_select_strategy", "norm_eps",
    "pixel_shuffle_ratio", "projector_dropout", "rope_mode", "vision_segment_max_frames",
    "vocab_size", "num_heads", "num_attention_heads", "mm_tokens_per_image", "spatial_patch_size",
    "window_size", "fullatt_block_indexes", "tokens_per_second",
)  # fmt: skip
JOINING = re.compile(
    r".*project(or|ion)_.*|(adapter|alignment|downsample|spatial)_.*|vision_feature_layers?|scale_factor"
)
"""Outer fields that a projector is made by."""


def vision_tower(config: Mapping[str, Any], hidden_size: int) -> tuple[Weight, ...]:
    """The tower of a whole configuration file, empty where it has none or it is not understood."""
    vision = config.get("vision_config")
    build = TOWERS.get(str(config.get("model_type")))
    if build is fuyu:
        vision = {name: config[name] for name in ("patch_size", "num_channels") if name in config}
    if not isinstance(vision, Mapping) or build is None:
        return ()
    fields = Fields(vision, "vision_config.")
    fields.ignore(*NUMERICS)
    outer = Fields({name: config[name] for name in config if JOINING.fullmatch(name)})
    outer.ignore(*NUMERICS)
    try:
        weights = build(fields, outer, hidden_size)
        fields.finish()
        outer.finish()
    except ConfigRefused:
        return ()
    return weights


def fuyu(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Fuyu: patches become tokens through one projection, with nothing before it."""
    fields.fill(patch_size=30, num_channels=3)
    return patches(fields, text_hidden_size, frames=1, bias=True)


def llama4(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Llama 4: a tower with a class token, a pixel-shuffling adapter and a projection."""
    size = fields.integer("hidden_size")
    inner = fields.integer("intermediate_size")
    narrow = fields.integer("projector_input_dim")
    wide = fields.integer("projector_output_dim")
    fields.expect("multi_modal_projector_bias", False)
    return (
        *patches(fields, size, frames=1, bias=False),
        Weight("vision.class_embedding", (size,), "embedding"),
        Weight("vision.positions", (positions(fields) + 1, size), "embedding"),
        *norm("vision.layernorm", size, bias=True) * 2,
        *blocks(fields.integer("num_hidden_layers"), size, inner),
        *linear("vision.adapter.fc1", narrow, inner),
        *linear("vision.adapter.fc2", wide, wide),
        *linear("projector", text_hidden_size, fields.integer("vision_output_dim")),
    )


def merger(merged: int, text_hidden_size: int) -> tuple[Weight, ...]:
    """Two layers that make one token of Qwen's neighbouring patches."""
    found = linear("merger.fc1", merged, merged, bias=True)
    return found + linear("merger.fc2", text_hidden_size, merged, bias=True)


def joins(fields: Fields, name: str, text_hidden_size: int) -> None:
    """Refuse a tower whose tokens are not as wide as the text model's."""
    if fields.integer(name, default=3584) != text_hidden_size:
        raise fields.refuse(name, f"is not the text model's {text_hidden_size}")


def qwen2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen2-VL, whose `hidden_size` is the text model's: the tower's is `embed_dim`."""
    fields.expect("model_type", "qwen2_vl", "qwen2_vl_vision")
    size = fields.integer("embed_dim", default=1280)
    joins(fields, "hidden_size", text_hidden_size)
    merged = size * fields.integer("spatial_merge_size", default=2) ** 2
    fields.fill(patch_size=14)
    return (
        *patches(fields, size, frames=fields.integer("temporal_patch_size", default=2), bias=False),
        *blocks(
            fields.integer("depth", default=32),
            size,
            size * fields.integer("mlp_ratio", default=4),
            fused=True,
        ),
        *norm("merger.norm", size, bias=True),
        *merger(merged, text_hidden_size),
    )


def qwen2_5(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen2.5-VL: gated layers with biases, norms without."""
    fields.expect("model_type", "qwen2_5_vl", "qwen2_5_vl_vision")
    size = fields.integer("hidden_size")
    inner = fields.integer("intermediate_size", default=3420)
    joins(fields, "out_hidden_size", text_hidden_size)
    merged = size * fields.integer("spatial_merge_size", default=2) ** 2
    fields.fill(patch_size=14)
    return (
        *patches(fields, size, frames=fields.integer("temporal_patch_size", default=2), bias=False),
        *blocks(fields.integer("depth", default=32), size, inner, fused=True, gated=True),
        *norm("merger.norm", size),
        *merger(merged, text_hidden_size),
    )


def qwen3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen3-VL and Qwen3.5: learned positions, a merger, and one more merger per deep stack."""
    size = fields.integer("hidden_size")
    merged = size * fields.integer("spatial_merge_size", default=2) ** 2
    out = fields.integer("out_hidden_size")
    fields.expect("out_hidden_size", text_hidden_size)
    deep = fields.sequence("deepstack_visual_indexes") or []
    return (
        *patches(fields, size, frames=fields.integer("temporal_patch_size", default=2), bias=True),
        Weight("vision.positions", (fields.integer("num_position_embeddings"), size), "embedding"),
        *blocks(fields.integer("depth"), size, fields.integer("intermediate_size"), fused=True),
        *norm("merger.norm", size, bias=True),
        *merger(merged, out) * (1 + len(deep)),
        *norm("merger.deep_norm", merged, bias=True) * len(deep),
    )


def glm4v(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """GLM-4V: its layers widen to the text model's size; `intermediate_size` is the merger's."""
    fields.fill(depth=24, hidden_size=1536, image_size=336, patch_size=14, out_hidden_size=4096)
    fields.expect("attention_bias", False)
    fields.expect("out_hidden_size", text_hidden_size)
    size, out = fields.integer("hidden_size"), fields.integer("out_hidden_size")
    inner = fields.integer("intermediate_size", default=13696)
    merge = fields.integer("spatial_merge_size", default=2)
    layers = blocks(fields.integer("depth"), size, out, fused=True, gated=True, bias=False)
    return (
        *patches(fields, size, frames=fields.integer("temporal_patch_size", default=2), bias=True),
        Weight("vision.positions", (positions(fields), size), "embedding"),
        *norm("vision.post_conv_layernorm", size) * 2,
        *layers,
        Weight("vision.downsample", (out, size * merge**2), "conv"),
        Weight("vision.downsample.bias", (out,), "bias"),
        *linear("merger.proj", out, out),
        *norm("merger.norm", out, bias=True),
        *linear("merger.gate_proj", inner, out),
        *linear("merger.up_proj", inner, out),
        *linear("merger.down_proj", out, inner),
    )


def minimax_m3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """MiniMax-M3: rotary positions, a projection and a merger of neighbouring patches.

    The publisher nests how they are merged; transformers saves it with the vision fields.
    """
    fields.expect("position_embedding_type", "rope")
    size = fields.integer("hidden_size")
    merge = fields.child("img_token_compression_config") or fields
    merge.expect("image_token_compression_method", "patch_merge")
    merged = text_hidden_size * merge.integer("spatial_merge_size") ** 2
    wide = outer.integer("projector_hidden_size")
    outer.expect("multimodal_projector_bias", True)
    fields.expect("projection_dim", text_hidden_size)
    frames = merge.integer("temporal_patch_size")
    if merge is not fields:
        merge.finish()
    return (
        *patches(fields, size, frames=frames, bias=False),
        *norm("vision.pre_layrnorm", size, bias=True),
        *blocks(fields.integer("num_hidden_layers"), size, fields.integer("intermediate_size")),
        *linear("projector.linear_1", wide, size, bias=True),
        *linear("projector.linear_2", text_hidden_size, wide, bias=True),
        *linear("projector.merge_linear_1", wide, merged, bias=True),
        *linear("projector.merge_linear_2", text_hidden_size, wide, bias=True),
    )


TOWERS: dict[str, Tower] = {
    "aya_vision": aya,
    "cohere2_vision": cohere2,
    "fuyu": fuyu,
    "gemma3": gemma3,
    "glm4v": glm4v,
    "glm4v_moe": glm4v,
    "idefics3": idefics3,
    "internvl": internvl,
    "lfm2_vl": lfm2,
    "llama4": llama4,
    "llava": llava,
    "llava_next": llava_with_newline,
    "llava_next_video": llava_with_newline,
    "llava_onevision": llava_with_newline,
    "minimax_m3_vl": minimax_m3,
    "mistral3": mistral3,
    "paligemma": paligemma,
    "qwen2_5_vl": qwen2_5,
    "qwen2_vl": qwen2,
    "qwen3_5": qwen3,
    "qwen3_5_moe": qwen3,
    "qwen3_vl": qwen3,
    "qwen3_vl_moe": qwen3,
    "smolvlm": idefics3,
    "video_llava": video_llava,
    "vipllava": vip_llava,
}
