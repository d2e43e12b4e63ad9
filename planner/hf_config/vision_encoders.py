"""Vision encoders, by their own `model_type`, which several wrappers take.

Each gives the tensors of the transformers class of that name, whose own values stand in for fields
left out. Source: Hugging Face transformers 5.24.
"""

from collections.abc import Callable

from planner.hf_config.reader import Fields, short
from planner.tensors import Weight, linear, norm

Encoder = Callable[[Fields], tuple[Weight, ...]]


def blocks(
    count: int,
    hidden_size: int,
    intermediate_size: int,
    *,
    fused: bool = False,
    gated: bool = False,
    bias: bool = True,
) -> tuple[Weight, ...]:
    """The encoder's layers: attention, an MLP and two norms. Gated ones have norms without bias."""
    found = norm("norm", hidden_size, bias=not gated) * 2
    if fused:
        found += linear("attn.qkv", 3 * hidden_size, hidden_size, "column", bias=bias)
    else:
        for name in ("q_proj", "k_proj", "v_proj"):
            found += linear(f"attn.{name}", hidden_size, hidden_size, "column", bias=bias)
    found += linear("attn.proj", hidden_size, hidden_size, "row", bias=bias)
    for name in ("gate", "up") if gated else ("up",):
        found += linear(f"mlp.{name}", intermediate_size, hidden_size, "column", bias=bias)
    found += linear("mlp.down", hidden_size, intermediate_size, "row", bias=bias)
    return tuple(Weight(f"vision.{w.name}", w.shape, w.role, w.split, copies=count) for w in found)


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


def clip(fields: Fields) -> tuple[Weight, ...]:
    """CLIP's tower: a class token, learned positions, a norm before the layers and one behind."""
    fields.fill(hidden_size=768, intermediate_size=3072, num_hidden_layers=12)
    fields.fill(image_size=224, patch_size=32)
    fields.ignore("projection_dim")
    size = fields.integer("hidden_size")
    return (
        *patches(fields, size, frames=1, bias=False),
        Weight("vision.class_embedding", (size,), "embedding"),
        Weight("vision.positions", (positions(fields) + 1, size), "embedding"),
        *norm("vision.layernorm", size, bias=True) * 2,
        *blocks(fields.integer("num_hidden_layers"), size, fields.integer("intermediate_size")),
    )


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
    size, inner = fields.integer("hidden_size"), fields.integer("intermediate_size")
    return (
        *found,
        Weight("vision.head.probe", (size,), "embedding"),
        *linear("vision.head.in_proj", 3 * size, size, bias=True),
        *linear("vision.head.out_proj", size, size, bias=True),
        *norm("vision.head.layernorm", size, bias=True),
        *linear("vision.head.fc1", inner, size, bias=True),
        *linear("vision.head.fc2", size, inner, bias=True),
    )


def headless(fields: Fields, places: int) -> tuple[Weight, ...]:
    """Learned positions, layers and a norm behind them."""
    size = fields.integer("hidden_size")
    return (
        *patches(fields, size, frames=1, bias=True),
        Weight("vision.positions", (places, size), "embedding"),
        *blocks(fields.integer("num_hidden_layers"), size, fields.integer("intermediate_size")),
        *norm("vision.post_layernorm", size, bias=True),
    )


def idefics3(fields: Fields) -> tuple[Weight, ...]:
    """Idefics 3's and SmolVLM's tower: SigLIP's under another name, with other values."""
    fields.fill(hidden_size=1152, intermediate_size=3072, num_hidden_layers=12)
    fields.fill(image_size=224, patch_size=32)
    fields.ignore("max_image_size", "size")
    fields.expect("use_base_siglip", False)
    return headless(fields, positions(fields))


def intern_vit(fields: Fields) -> tuple[Weight, ...]:
    """InternVL's tower where its layers have biases: a class token and scaled residuals."""
    fields.fill(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24)
    fields.fill(image_size=[448, 448], patch_size=[14, 14])
    for name in ("image_size", "patch_size"):
        square(fields, name)
    fields.ignore("layer_scale_init_value", "projection_dropout")
    fields.expect("norm_type", "layer_norm")
    if not fields.flag("attention_bias", default=False):
        raise fields.refuse("attention_bias", "is false, whose layers are not described")
    for name in ("use_absolute_position_embeddings", "use_mean_pooling"):
        fields.expect(name, True)
    size, count = fields.integer("hidden_size"), fields.integer("num_hidden_layers")
    return (
        *patches(fields, size, frames=1, bias=True),
        Weight("vision.class_embedding", (size,), "embedding"),
        Weight("vision.positions", (positions(fields) + 1, size), "embedding"),
        *blocks(count, size, fields.integer("intermediate_size")),
        Weight("vision.lambda", (2, size), "vector", copies=count),
    )


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


ENCODERS: dict[str, Encoder] = {
    "clip_vision_model": clip,
    "idefics3_vision": idefics3,
    "internvl_vision": intern_vit,
    "pixtral": pixtral,
    "siglip2_vision_model": siglip2,
    "siglip_vision_model": siglip,
    "smolvlm_vision": idefics3,
}
