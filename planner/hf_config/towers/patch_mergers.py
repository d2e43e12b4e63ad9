"""Towers of Qwen, GLM, MiniMax and ERNIE, which join neighbouring patches into one token.

Each takes the vision fields, the outer fields and the text decoder's hidden size. Source: the
classes of the outer `model_type` in Hugging Face transformers 5.24.
"""

from planner.hf_config.reader import Fields
from planner.hf_config.towers.encoder_blocks import blocks
from planner.hf_config.towers.joining import joins, two_layers
from planner.hf_config.towers.vision_encoders import patches, positions
from planner.tensors import Weight, linear, norm

QWEN2_5 = (
    "qwen2_5_vl", "qwen2_5_vl_vision", "qwen2_5_omni_vision_encoder", "exaone4_5_vision",
)  # fmt: skip


def merger(merged: int, text_hidden_size: int) -> tuple[Weight, ...]:
    """Two layers that make one token of neighbouring patches."""
    found = linear("merger.fc1", merged, merged, bias=True)
    return found + linear("merger.fc2", text_hidden_size, merged, bias=True)


def clip_of_frames(fields: Fields, size: int, *, bias: bool) -> tuple[Weight, ...]:
    """Patches that take in several frames of a video at once."""
    return patches(fields, size, frames=fields.integer("temporal_patch_size", default=2), bias=bias)


def side_by_side(fields: Fields, size: int) -> int:
    """Width of the patches that become one token."""
    return size * fields.integer("spatial_merge_size", default=2) ** 2


def fuyu(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Fuyu: patches become tokens through one projection, with nothing before it."""
    fields.fill(patch_size=30, num_channels=3)
    return patches(fields, text_hidden_size, frames=1, bias=True)


def qwen2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen2-VL, whose `hidden_size` is the text model's: the tower's is `embed_dim`."""
    fields.expect("model_type", "qwen2_vl", "qwen2_vl_vision")
    size = fields.integer("embed_dim", default=1280)
    joins(fields, "hidden_size", text_hidden_size, default=3584)
    fields.fill(patch_size=14)
    inner = size * fields.integer("mlp_ratio", default=4)
    return (
        *clip_of_frames(fields, size, bias=False),
        *blocks(fields.integer("depth", default=32), size, inner),
        *norm("merger.norm", size, bias=True),
        *merger(side_by_side(fields, size), text_hidden_size),
    )


def qwen2_5(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen2.5-VL: gated layers with biases, norms without; EXAONE 4.5 with fewer KV heads."""
    fields.expect("model_type", *QWEN2_5)
    size = fields.integer("hidden_size", default=3584)
    fields.expect("embed_dim", size)
    inner = fields.integer("intermediate_size", default=3420)
    joins(fields, "out_hidden_size", text_hidden_size, default=3584)
    fields.fill(patch_size=14)
    if fields.config.get("model_type") == "exaone4_5_vision":
        fields.fill(num_key_value_heads=8)
    kv_heads = fields.optional("num_key_value_heads")
    kv_width = size // fields.integer("num_heads", default=16) * kv_heads if kv_heads else size
    depth = fields.integer("depth", default=32)
    return (
        *clip_of_frames(fields, size, bias=False),
        *blocks(depth, size, inner, gated=True, kv_width=kv_width),
        *norm("merger.norm", size),
        *merger(side_by_side(fields, size), text_hidden_size),
    )


def hyperclovax(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """HyperCLOVA X: Qwen2.5-VL's tower and one more projection."""
    found = qwen2_5(fields, outer, text_hidden_size)
    return found + linear("projector", text_hidden_size, text_hidden_size, bias=True)


DEEP = ("qwen3_vl", "qwen3_vl_moe", "qwen3_omni_moe", "cosmos3")
"""Families whose vision class gives three of its layers a merger of their own."""


def qwen3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen3-VL and Qwen3.5: learned positions, a merger, and one more merger per deep stack."""
    fields.fill(hidden_size=1152, intermediate_size=4304, depth=27, patch_size=16)
    size = fields.integer("hidden_size")
    joins(fields, "out_hidden_size", text_hidden_size, default=3584)
    if not fields.given("deepstack_visual_indexes") and fields.text(
        "model_type", default="qwen3_vl"
    ).startswith(DEEP):
        fields.fill(deepstack_visual_indexes=[8, 16, 24])
    deep = fields.sequence("deepstack_visual_indexes") or []
    merged = side_by_side(fields, size)
    places = fields.integer("num_position_embeddings", default=2304)
    return (
        *clip_of_frames(fields, size, bias=True),
        Weight("vision.positions", (places, size), "embedding"),
        *blocks(fields.integer("depth"), size, fields.integer("intermediate_size")),
        *norm("merger.norm", size, bias=True),
        *merger(merged, text_hidden_size) * (1 + len(deep)),
        *norm("merger.deep_norm", merged, bias=True) * len(deep),
    )


def glm_merger(fields: Fields, size: int, out: int, inner: int) -> tuple[Weight, ...]:
    """A convolution that joins patches, then a gated layer `inner` wide."""
    merge = fields.integer("spatial_merge_size", default=2)
    return (
        Weight("vision.downsample", (out, size * merge**2), "conv"),
        Weight("vision.downsample.bias", (out,), "bias"),
        *linear("merger.proj", out, out),
        *norm("merger.norm", out, bias=True),
        *linear("merger.gate_proj", inner, out),
        *linear("merger.up_proj", inner, out),
        *linear("merger.down_proj", out, inner),
    )


def glm4v(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """GLM-4V: its layers widen to the text model's size; `intermediate_size` is the merger's."""
    fields.fill(depth=24, hidden_size=1536, image_size=336, patch_size=14)
    joins(fields, "out_hidden_size", text_hidden_size, default=4096)
    size, bias = fields.integer("hidden_size"), fields.flag("attention_bias", default=False)
    inner = fields.integer("intermediate_size", default=13696)
    found = blocks(
        fields.integer("depth"), size, text_hidden_size, gated=True, bias=False, qkv_bias=bias
    )
    return (
        *clip_of_frames(fields, size, bias=True),
        Weight("vision.positions", (positions(fields), size), "embedding"),
        *norm("vision.post_conv_layernorm", size) * 2,
        *found,
        *glm_merger(fields, size, text_hidden_size, inner),
    )


def glm_ocr(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """GLM-OCR: rotary positions, normalised heads, and a merger as many text widths wide as an
    image has channels."""
    fields.fill(depth=24, hidden_size=1024, image_size=336, patch_size=14, num_heads=16)
    joins(fields, "out_hidden_size", text_hidden_size, default=1536)
    size, bias = fields.integer("hidden_size"), fields.flag("attention_bias", default=True)
    channels = fields.integer("in_channels", default=3)
    heads = norm("attn.head_norm", size // fields.integer("num_heads")) * 2
    found = blocks(
        fields.integer("depth"), size, fields.integer("intermediate_size", default=4096),
        gated=True, bias=bias, beside=heads,
    )  # fmt: skip
    return (
        *clip_of_frames(fields, size, bias=True),
        *found,
        *norm("vision.post_layernorm", size),
        *glm_merger(fields, size, text_hidden_size, channels * text_hidden_size),
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
        *two_layers(size, wide, text_hidden_size),
        *linear("projector.merge_linear_1", wide, merged, bias=True),
        *linear("projector.merge_linear_2", text_hidden_size, wide, bias=True),
    )


def ernie(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """ERNIE 4.5 VL: neighbours in space, then in time, become one token."""
    if "embed_dim" in fields:  # the publisher's name
        size = fields.integer("embed_dim")
        fields.settle("hidden_size", size)
        fields.settle("intermediate_size", size * fields.integer("mlp_ratio", default=4))
    fields.fill(depth=32, hidden_size=1280, intermediate_size=5120, patch_size=14)
    fields.ignore("attn_sep", "vit_first_fwd_bsz", "vit_num_recompute_layers")
    size = fields.integer("hidden_size")
    outer.expect("spatial_conv_size", fields.integer("spatial_merge_size", default=2))
    fields.derive(temporal_merge_size=outer.integer("temporal_conv_size", default=2))
    merged = side_by_side(fields, size)
    frames = fields.integer("temporal_merge_size", default=2)
    return (
        *patches(fields, size, frames=1, bias=False),
        *blocks(fields.integer("depth"), size, fields.integer("intermediate_size")),
        *norm("vision.ln", size, bias=True),
        *linear("merger.spatial_1", merged, merged, bias=True),
        *linear("merger.spatial_2", merged, merged, bias=True),
        *linear("merger.temporal_1", merged, merged * frames, bias=True),
        *linear("merger.temporal_2", merged, merged, bias=True),
        *norm("merger.norm", merged, bias=True) * 2,
        *linear("merger.proj", text_hidden_size, merged, bias=True),
        *norm("merger.after_norm", text_hidden_size),
    )
