"""Vision encoders, by their own `model_type`, which several wrappers take.

Each gives the tensors of the transformers class of that name, whose own values stand in for fields
left out. Source: Hugging Face transformers 5.24.
"""

from collections.abc import Callable

from planner.hf_config.reader import Fields, short
from planner.hf_config.towers.encoder_blocks import blocks
from planner.tensors import Weight, linear, norm

Encoder = Callable[[Fields], tuple[Weight, ...]]


def positions(fields: Fields) -> int:
    """Patches of one image."""
    size, patch = fields.integer("image_size"), fields.integer("patch_size")
    return (size // patch) ** 2


def patches(fields: Fields, hidden_size: int, *, frames: int, bias: bool) -> tuple[Weight, ...]:
    """The convolution that turns patches into vectors."""
    patch = fields.integer("patch_size")
    channels = fields.integer("num_channels", "in_channels", "in_chans", default=3)
    weight = Weight("vision.patch", (hidden_size, channels * frames * patch * patch), "conv")
    return (weight, Weight("vision.patch.bias", (hidden_size,), "bias")) if bias else (weight,)


def around(
    fields: Fields,
    layers: tuple[Weight, ...],
    places: int,
    *,
    classes: int = 0,
    patch_bias: bool = True,
    norms: int = 1,
    norm_bias: bool = True,
) -> tuple[Weight, ...]:
    """Patches, class tokens with a position each, learned positions and norms about `layers`."""
    size = fields.integer("hidden_size")
    found = patches(fields, size, frames=1, bias=patch_bias)
    if classes:
        found += (Weight("vision.class_embedding", (classes, size), "embedding"),)
    if places:
        found += (Weight("vision.positions", (places + classes, size), "embedding"),)
    return (*found, *layers, *norm("vision.layernorm", size, bias=norm_bias) * norms)


def layers(fields: Fields, *, qkv_bias: bool = True) -> tuple[Weight, ...]:
    """Plain layers with biases."""
    count, size = fields.integer("num_hidden_layers"), fields.integer("hidden_size")
    return blocks(count, size, fields.integer("intermediate_size"), qkv_bias=qkv_bias)


def clip(fields: Fields) -> tuple[Weight, ...]:
    """CLIP's tower: a class token, learned positions, a norm before the layers and one behind."""
    fields.fill(hidden_size=768, intermediate_size=3072, num_hidden_layers=12)
    fields.fill(image_size=224, patch_size=32)
    fields.ignore("projection_dim")
    places = positions(fields)
    return around(fields, layers(fields), places, classes=1, patch_bias=False, norms=2)


def siglip(fields: Fields) -> tuple[Weight, ...]:
    """SigLIP's tower, with a position for every patch of an image."""
    fields.fill(image_size=224, patch_size=16)
    return with_head(fields, positions(fields))


def siglip2(fields: Fields) -> tuple[Weight, ...]:
    """SigLIP 2's tower, with so many positions, stretched over an image of any shape."""
    return with_head(fields, fields.integer("num_patches", default=256))


def with_head(fields: Fields, places: int) -> tuple[Weight, ...]:
    """SigLIP's layers and its head, which, unless switched off, is loaded and never read."""
    fields.fill(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, patch_size=16)
    found = headless(fields, places)
    if not fields.flag("vision_use_head", default=True):
        return found
    return found + pooling_head(fields.integer("hidden_size"), fields.integer("intermediate_size"))


def pooling_head(size: int, inner: int) -> tuple[Weight, ...]:
    """SigLIP's head: one learned query that attends to all patches, and an MLP."""
    return (
        Weight("vision.head.probe", (size,), "embedding"),
        *linear("vision.head.in_proj", 3 * size, size, bias=True),
        *linear("vision.head.out_proj", size, size, bias=True),
        *norm("vision.head.layernorm", size, bias=True),
        *linear("vision.head.fc1", inner, size, bias=True),
        *linear("vision.head.fc2", size, inner, bias=True),
    )


def headless(fields: Fields, places: int) -> tuple[Weight, ...]:
    """Learned positions, layers and a norm behind them."""
    return around(fields, layers(fields), places)


def idefics2(fields: Fields) -> tuple[Weight, ...]:
    """Idefics 2's tower: SigLIP's under another name, with other values."""
    fields.fill(hidden_size=768, intermediate_size=3072, num_hidden_layers=12)
    fields.fill(image_size=224, patch_size=32)
    return headless(fields, positions(fields))


def idefics3(fields: Fields) -> tuple[Weight, ...]:
    """Idefics 3's and SmolVLM's tower."""
    fields.fill(hidden_size=1152)
    fields.ignore("max_image_size", "size")
    fields.expect("use_base_siglip", False)
    return idefics2(fields)


def paddleocr(fields: Fields) -> tuple[Weight, ...]:
    """PaddleOCR-VL's tower: SigLIP's with rotary positions beside the learned ones."""
    fields.fill(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27)
    fields.fill(image_size=384, patch_size=14)
    return headless(fields, positions(fields))


def video_llama3(fields: Fields) -> tuple[Weight, ...]:
    """VideoLLaMA 3's tower, with rotary positions alone."""
    fields.fill(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, patch_size=16)
    return headless(fields, 0)


MOONVIT = {
    "vt_hidden_size": "hidden_size", "vt_intermediate_size": "intermediate_size",
    "vt_num_hidden_layers": "num_hidden_layers", "init_pos_emb_height": "pos_emb_height",
    "init_pos_emb_width": "pos_emb_width",
}  # fmt: skip
"""The publisher's names of fields, and those of the class."""


def moonvit(fields: Fields) -> tuple[Weight, ...]:
    """MoonViT: a grid of positions, stretched over an image; those of frames are computed.

    Kimi K3's may be without biases, with RMS norms and with a width of attention of its own.
    """
    for name, known in MOONVIT.items():
        if name in fields:
            fields.settle(known, fields.raw(name))
    fields.fill(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27, patch_size=14)
    fields.ignore(
        "pos_emb_time", "init_pos_emb_time", "video_attn_type", "merge_type",
        "vt_num_attention_heads",
    )  # fmt: skip
    fields.ignore("activation_func", "pos_emb_interpolation_mode")
    fields.expect("pos_emb_type", "divided_fixed")
    fields.expect("mlp_type", "mlp2")
    fields.expect("norm_type", "layernorm", "rmsnorm")
    sides = [fields.integer(f"pos_emb_{side}", default=64) for side in ("height", "width")]
    count, size = fields.integer("num_hidden_layers"), fields.integer("hidden_size")
    norm_bias = fields.text("norm_type", default="layernorm") == "layernorm"
    attn_bias = fields.flag("attn_bias", default=True)
    found = blocks(
        count, size, fields.integer("intermediate_size"),
        bias=fields.flag("linear_bias", default=True), qkv_bias=attn_bias, out_bias=attn_bias,
        norm_bias=norm_bias, width=fields.integer("qkv_hidden_size", default=size),
    )  # fmt: skip
    patch_bias = fields.flag("patch_embed_proj_bias", default=True)
    places = sides[0] * sides[1]
    return around(fields, found, places, patch_bias=patch_bias, norm_bias=norm_bias)


def blip2(fields: Fields) -> tuple[Weight, ...]:
    """The tower of BLIP-2 and InstructBLIP: a class token, and biases of queries by choice."""
    fields.fill(hidden_size=1408, intermediate_size=6144, num_hidden_layers=39)
    fields.fill(image_size=224, patch_size=14)
    qkv_bias = fields.flag("qkv_bias", default=True)
    return around(fields, layers(fields, qkv_bias=qkv_bias), positions(fields), classes=1)


def intern_vit(fields: Fields) -> tuple[Weight, ...]:
    """InternVL's tower: a class token and scaled residuals."""
    fields.fill(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24)
    fields.fill(image_size=[448, 448], patch_size=[14, 14])
    for name in ("image_size", "patch_size"):
        square(fields, name)
    fields.ignore("layer_scale_init_value", "projection_dropout", "drop_path_rate")
    fields.expect("norm_type", "layer_norm", "rms_norm")
    size = fields.integer("hidden_size")
    beside = [Weight("lambda", (2, size), "vector")]
    if fields.flag("use_qk_norm", default=False):
        beside += norm("attn.qk_norm", size) * 2
    found = blocks(
        fields.integer("num_hidden_layers"), size, fields.integer("intermediate_size"),
        qkv_bias=fields.flag("attention_bias", default=False), beside=tuple(beside),
        norm_bias=fields.text("norm_type", default="layer_norm") == "layer_norm",
    )  # fmt: skip
    if fields.flag("use_mask_token", default=False):
        found += (Weight("vision.mask_token", (size,), "embedding"),)
    learned = fields.flag("use_absolute_position_embeddings", default=True)
    norms = 0 if fields.flag("use_mean_pooling", default=True) else 1
    places = positions(fields) if learned else 0
    return around(fields, found, places, classes=1, norms=norms)


def qianfan(fields: Fields) -> tuple[Weight, ...]:
    """Qianfan-OCR's tower: InternVL's, whose queries, keys and values have biases."""
    fields.fill(attention_bias=True)
    return intern_vit(fields)


def square(fields: Fields, name: str) -> None:
    """Put one number in the place of two equal ones."""
    value = fields.config[name]
    if isinstance(value, list):
        if len(value) != 2 or value[0] != value[1]:
            raise fields.refuse(name, f"{short(value)} is no square")
        fields.settle(name, value[0])


def pixtral(fields: Fields) -> tuple[Weight, ...]:
    """Pixtral's tower: gated layers without biases, rotary positions."""
    fields.fill(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24)
    fields.fill(num_attention_heads=16, patch_size=16)
    size = fields.integer("hidden_size")
    fields.expect("head_dim", size // fields.integer("num_attention_heads"))
    inner = fields.integer("intermediate_size")
    return (
        *patches(fields, size, frames=1, bias=False),
        *norm("vision.ln_pre", size),
        *blocks(fields.integer("num_hidden_layers"), size, inner, gated=True, bias=False),
    )


def aimv2(fields: Fields) -> tuple[Weight, ...]:
    """Ovis 2's tower: gated layers and norms without bias, learned positions."""
    fields.fill(hidden_size=1024, intermediate_size=2816, num_hidden_layers=24)
    fields.fill(image_size=224, patch_size=14)
    size = fields.integer("hidden_size")
    bias, mlp_bias = (fields.flag(name, default=False) for name in ("qkv_bias", "mlp_bias"))
    found = blocks(
        fields.integer("num_hidden_layers"), size, fields.integer("intermediate_size"),
        gated=True, bias=bias, mlp_bias=mlp_bias,
    )  # fmt: skip
    return (
        *around(fields, found, positions(fields), norms=0),
        *norm("vision.rms_norm", size) * 2,
    )


ENCODERS: dict[str, Encoder] = {
    "blip_2_vision_model": blip2,
    "clip_vision_model": clip,
    "idefics2_vision": idefics2,
    "idefics3_vision": idefics3,
    "instructblip_vision_model": blip2,
    "instructblipvideo_vision_model": blip2,
    "internvl_vision": intern_vit,
    "kimi_k25_vision": moonvit,
    "moonvit": moonvit,
    "ovis2_vision": aimv2,
    "paddleocr_vl": paddleocr,
    "paddleocr_vl_vision": paddleocr,
    "pixtral": pixtral,
    "qianfan_ocr_vision": qianfan,
    "siglip2_vision_model": siglip2,
    "siglip_vision_model": siglip,
    "smolvlm_vision": idefics3,
    "video_llama_3_vision": video_llama3,
}
