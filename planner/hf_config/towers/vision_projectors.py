"""Towers made of an encoder with a `model_type` of its own and a projector into the text model.

Each takes the vision fields, the outer fields and the text decoder's hidden size. Source: the
classes of the outer `model_type` in Hugging Face transformers 5.24.
"""

from planner.hf_config.reader import Fields, short
from planner.hf_config.towers.encoder_blocks import blocks
from planner.hf_config.towers.joining import joins, two_layers
from planner.hf_config.towers.vision_encoders import (
    ENCODERS,
    around,
    layers,
    patches,
    pooling_head,
    positions,
)
from planner.tensors import Weight, linear, norm


def encoder(fields: Fields) -> tuple[Weight, ...]:
    """The encoder that the vision fields name."""
    kind = fields.text("model_type")
    if kind not in ENCODERS:
        raise fields.refuse("model_type", f"{short(kind)} is not a vision encoder known here")
    return ENCODERS[kind](fields)


def features(fields: Fields, outer: Fields) -> int:
    """Width of what the encoder's chosen layers give, one beside the other."""
    chosen = outer.raw("vision_feature_layer", "vision_feature_layers")
    if not isinstance(chosen, list):
        return fields.integer("hidden_size")
    if not chosen:
        raise outer.refuse("vision_feature_layer", "names no layer")
    return len(chosen) * fields.integer("hidden_size")


def llava_projector(
    fields: Fields, outer: Fields, text_hidden_size: int, *, bias: bool = True
) -> tuple[Weight, ...]:
    """From the encoder's features to the text model. bias: the class's own choice."""
    bias = outer.flag("multimodal_projector_bias", default=bias)
    return two_layers(features(fields, outer), text_hidden_size, text_hidden_size, bias=bias)


def llava(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """LLaVA 1.5, and Pixtral as LLaVA."""
    return encoder(fields) + llava_projector(fields, outer, text_hidden_size)


def llava_with_newline(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """LLaVA-NeXT and LLaVA-OneVision: a learned vector ends each row of an image."""
    outer.expect("spatial_pool_mode", "average", "max")
    outer.ignore("spatial_pool_stride")
    newline = Weight("projector.image_newline", (text_hidden_size,), "embedding")
    return (*llava(fields, outer, text_hidden_size), newline)


def video_llava(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Video-LLaVA: the encoder twice, for images and for videos."""
    return encoder(fields) * 2 + llava_projector(fields, outer, text_hidden_size)


def vip_llava(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """ViP-LLaVA: a norm over the features of five layers; its projector always has biases."""
    found = encoder(fields)
    if not outer.given("vision_feature_layers"):
        outer.fill(vision_feature_layer=[-2, -5, -8, -11, 6])
    outer.expect("multimodal_projector_bias", True)
    outer.ignore("projector_layernorm_eps")
    found += norm("projector.norm", features(fields, outer), bias=True)
    return found + llava_projector(fields, outer, text_hidden_size)


def mistral3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Mistral 3: a norm and a merger of neighbouring patches."""
    found = encoder(fields)
    size = fields.integer("hidden_size")
    found += norm("projector.norm", size)
    merged = size * outer.integer("spatial_merge_size", default=2) ** 2
    found += linear("projector.merging_layer", size, merged)
    return found + llava_projector(fields, outer, text_hidden_size, bias=False)


def gemma3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Gemma 3: a norm and one projection."""
    found = encoder(fields)
    size = fields.integer("hidden_size")
    return (*found, *norm("projector.norm", size), *linear("projector", text_hidden_size, size))


def paligemma(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """PaliGemma: one projection."""
    found = encoder(fields)
    fields.ignore("projection_dim")
    joins(outer, "projection_dim", text_hidden_size, default=2048)
    return found + linear("projector", text_hidden_size, fields.integer("hidden_size"), bias=True)


def pixel_shuffle(
    fields: Fields, outer: Fields, inner: int, text_hidden_size: int
) -> tuple[Weight, ...]:
    """Neighbouring patches as one, through a gated projector of `inner`."""
    found = linear("projector.linear_1", inner, neighbours(fields, outer), bias=True)
    return found + linear("projector.linear_2", text_hidden_size, inner // 2, bias=True)


def neighbours(fields: Fields, outer: Fields) -> int:
    """Width of neighbouring patches side by side."""
    return fields.integer("hidden_size") * outer.integer("downsample_factor", default=2) ** 2


def aya(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Aya Vision: as wide as the text model unless it says otherwise."""
    outer.ignore("adapter_layer_norm_eps")
    inner = outer.integer("alignment_intermediate_size", default=text_hidden_size)
    found = encoder(fields) + norm("projector.norm", neighbours(fields, outer), bias=True)
    return found + pixel_shuffle(fields, outer, inner, text_hidden_size)


def cohere2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Command A Vision."""
    inner = outer.integer("alignment_intermediate_size", default=36864)
    return encoder(fields) + pixel_shuffle(fields, outer, inner, text_hidden_size)


def idefics3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Idefics 3 and SmolVLM: neighbouring patches as one, and one projection."""
    found = encoder(fields)
    wide = fields.integer("hidden_size") * outer.integer("scale_factor", default=2) ** 2
    return found + linear("projector", text_hidden_size, wide)


def internvl(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """InternVL: two by two patches as one, a norm and two layers."""
    found = encoder(fields)
    outer.expect("downsample_ratio", 0.5)
    wide = 4 * fields.integer("hidden_size")
    found += norm("projector.norm", wide, bias=True)
    return found + two_layers(wide, text_hidden_size, text_hidden_size)


def lfm2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """LFM2-VL: neighbouring patches as one, a norm unless switched off and two layers."""
    found, wide = encoder(fields), neighbours(fields, outer)
    if outer.flag("projector_use_layernorm", default=True):
        found += norm("projector.norm", wide, bias=True)
    inner, bias = outer.integer("projector_hidden_size"), outer.flag("projector_bias", default=True)
    return found + two_layers(wide, inner, text_hidden_size, bias=bias)


def video_llama3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """VideoLLaMA 3."""
    found, wide = encoder(fields), fields.integer("hidden_size")
    return found + two_layers(wide, text_hidden_size, text_hidden_size)


def ovis2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Ovis 2: a visual vocabulary, whose words mix as the encoder's head says."""
    fields.ignore("vocab_size", "tokenize_function")
    found, size = encoder(fields), fields.integer("hidden_size")
    words = fields.integer("vocab_size", default=16384)
    heads = words - fields.integer("num_visual_indicator_tokens", default=5)
    joins(outer, "hidden_size", text_hidden_size, default=1536)
    stride = fields.integer("hidden_stride", default=1)
    return (
        *found,
        *linear("projector.head", heads, size * stride**2),
        *norm("projector.norm", heads, bias=True),
        Weight("projector.words", (words, text_hidden_size), "embedding"),
    )


def phi4(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Phi-4 multimodal's eye: SigLIP with its head, and two marks between parts of an image."""
    fields.fill(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27)
    fields.fill(image_size=448, patch_size=14)
    fields.ignore("crop_size", "feature_layer")
    size = fields.integer("hidden_size")
    return (
        *around(fields, layers(fields), positions(fields)),
        *pooling_head(size, fields.integer("intermediate_size")),
        Weight("projector.marks", (2, size), "embedding"),
        *linear("projector.up", text_hidden_size, size, bias=True),
        *linear("projector.down", text_hidden_size, text_hidden_size, bias=True),
    )


def gemma4(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Gemma 4's eye: gated layers with four norms, normalised heads and positions by axis."""
    fields.fill(hidden_size=768, intermediate_size=3072, num_hidden_layers=16, patch_size=16)
    fields.fill(num_attention_heads=12, num_key_value_heads=12, head_dim=64)
    fields.ignore(
        "pooling_kernel_size", "use_clipped_linears", "standardize", "default_output_length",
        "image_seq_length", "video_seq_length",
    )  # fmt: skip
    fields.expect("global_head_dim", fields.integer("head_dim"))
    size, head = fields.integer("hidden_size"), fields.integer("head_dim")
    heads, kv = fields.integer("num_attention_heads"), fields.integer("num_key_value_heads")
    fields.expect("attention_bias", False)
    places = fields.integer("position_embedding_size", default=10240)
    beside = norm("more_norm", size) * 2 + norm("attn.head_norm", head) * 2
    return (
        *patches(fields, size, frames=1, bias=False),
        Weight("vision.positions", (2, places, size), "embedding"),
        *blocks(
            fields.integer("num_hidden_layers"), size, fields.integer("intermediate_size"),
            gated=True, bias=False, width=heads * head, kv_width=kv * head, beside=beside,
        ),
        *linear("projector", text_hidden_size, size),
    )  # fmt: skip


MOBILENET_V5 = 294_126_912
"""Parameters of mobilenetv5_300m_enc without its head, as timm 1.0 builds it."""


def gemma3n(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Gemma 3n's eye: one convolutional encoder, whose shape no field changes."""
    fields.expect("architecture", "mobilenetv5_300m_enc")
    fields.expect("model_args", {})
    fields.expect("do_pooling", False)
    fields.fill(hidden_size=2048)
    fields.ignore("vocab_offset", "num_classes", "label_names")
    fields.expect("hidden_size", 2048)
    return (
        Weight("vision.encoder", (MOBILENET_V5,), "conv"),
        *embedder(fields, "projector.vision", text_hidden_size),
    )


def embedder(fields: Fields, name: str, text_hidden_size: int) -> tuple[Weight, ...]:
    """What Gemma 3n makes of a tower's output: words of its own, two norms, one projection."""
    words, size = fields.integer("vocab_size", default=128), fields.integer("hidden_size")
    return (
        Weight(f"{name}.words", (words, size), "embedding"),
        *norm(f"{name}.norm", size) * 2,
        *linear(name, text_hidden_size, size),
    )
