"""Projectors that ask an encoder's output a fixed number of learned questions.

Each takes the vision fields, the outer fields and the text decoder's hidden size. Source: the
classes of the outer `model_type` in Hugging Face transformers 5.24.
"""

from planner.hf_config.reader import Fields
from planner.hf_config.towers.encoder_blocks import blocks
from planner.hf_config.towers.joining import joins
from planner.hf_config.towers.vision_encoders import patches
from planner.hf_config.towers.vision_projectors import encoder
from planner.tensors import Weight, linear, norm


def qformer(fields: Fields, *, reads_text: bool = False) -> tuple[Weight, ...]:
    """A Q-Former: queries attend to each other, and in some layers to what is encoded.

    reads_text: with an embedding and a second MLP for the user's question.
    """
    fields.fill(vocab_size=30522, hidden_size=768, num_hidden_layers=12, intermediate_size=3072)
    fields.fill(encoder_hidden_size=1408, cross_attention_frequency=2, max_position_embeddings=512)
    fields.ignore("num_attention_heads", "position_embedding_type")
    size, inner = fields.integer("hidden_size"), fields.integer("intermediate_size")
    count, wide = fields.integer("num_hidden_layers"), fields.integer("encoder_hidden_size")
    crossing = -(-count // fields.integer("cross_attention_frequency"))
    both = reads_text or fields.flag("use_qformer_text_input", default=False)
    places = fields.integer("max_position_embeddings")
    mlp = (
        *linear("qformer.mlp.up", inner, size, bias=True),
        *linear("qformer.mlp.down", size, inner, bias=True),
        *norm("qformer.mlp.norm", size, bias=True),
    )
    words = (
        Weight("qformer.words", (fields.integer("vocab_size"), size), "embedding"),
        Weight("qformer.positions", (places, size), "embedding"),
    )
    return (
        *norm("qformer.layernorm", size, bias=True),
        *attention("qformer.self", size, size) * count,
        *attention("qformer.cross", size, wide) * crossing,
        *mlp * (count * (2 if both else 1)),
        *(words if reads_text else ()),
    )


def attention(name: str, size: int, wide: int) -> tuple[Weight, ...]:
    """Attention over vectors `wide` wide, its projection and its norm."""
    return (
        *linear(f"{name}.query", size, size, bias=True),
        *linear(f"{name}.key", size, wide, bias=True),
        *linear(f"{name}.value", size, wide, bias=True),
        *linear(f"{name}.dense", size, size, bias=True),
        *norm(f"{name}.norm", size, bias=True),
    )


def asked(
    fields: Fields, outer: Fields, text_hidden_size: int, *, reads_text: bool
) -> tuple[Weight, ...]:
    """Encoder, Q-Former, its queries and one projection."""
    found = encoder(fields)
    inner = outer.part("qformer_config")
    inner.fill(encoder_hidden_size=1408)
    found += qformer(inner, reads_text=reads_text)
    inner.expect("encoder_hidden_size", fields.integer("hidden_size"))
    inner.finish()
    size = inner.integer("hidden_size")
    queries = outer.integer("num_query_tokens", default=32)
    found += (Weight("qformer.queries", (queries, size), "embedding"),)
    return found + linear("projector", text_hidden_size, size, bias=True)


def blip2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """BLIP-2."""
    return asked(fields, outer, text_hidden_size, reads_text=False)


def instructblip(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """InstructBLIP, whose Q-Former reads the instruction too."""
    return asked(fields, outer, text_hidden_size, reads_text=True)


def granite4(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Granite 4 Vision: a Q-Former over windows for each deep stack and each of four corners."""
    found, size = encoder(fields), fields.integer("hidden_size")
    outer.ignore("spatial_vision_layer", "spatial_target_layers")
    inner = outer.part("qformer_config")
    for name in ("hidden_size", "encoder_hidden_size"):
        inner.settle(name, size)
    asking = qformer(inner)
    inner.finish()
    sides = outer.text("downsample_rate").split("/")
    if len(sides) != 2 or not all(side.isdecimal() and len(side) < 4 for side in sides):
        raise outer.refuse("downsample_rate", "is not the sides of two windows, as 4/8")
    queries, window = (int(side) ** 2 for side in sides)
    one = (
        *asking,
        *norm("projector.norm", size, bias=True),
        Weight("projector.query", (queries + window, size), "embedding"),
        *linear("projector", text_hidden_size, size, bias=True),
    )
    deep = outer.sequence("deepstack_layer_map") or []
    newline = Weight("projector.image_newline", (text_hidden_size,), "embedding")
    return (*found, newline, *one * (len(deep) + 4))


def idefics2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Idefics 2: an MLP of the text model's widths and a perceiver."""
    found, wide = encoder(fields), fields.integer("hidden_size")
    text = outer.part("text_config")
    inner = text.integer("intermediate_size", default=14336)
    perceiver = outer.part("perceiver_config")
    joins(perceiver, "hidden_size", text_hidden_size, default=4096)
    perceiver.fill(hidden_size=4096, resampler_n_latents=64, resampler_depth=3)
    perceiver.fill(resampler_n_heads=16, resampler_head_dim=96, num_key_value_heads=4)
    size, head = perceiver.integer("hidden_size"), perceiver.integer("resampler_head_dim")
    heads, kv = perceiver.integer("resampler_n_heads"), perceiver.integer("num_key_value_heads")
    layer = (
        *norm("perceiver.norm", size) * 3,
        *linear("perceiver.q_proj", heads * head, size),
        *linear("perceiver.k_proj", kv * head, size),
        *linear("perceiver.v_proj", kv * head, size),
        *linear("perceiver.o_proj", size, heads * head),
        *linear("perceiver.gate_proj", 4 * size, size),
        *linear("perceiver.up_proj", 4 * size, size),
        *linear("perceiver.down_proj", size, 4 * size),
    )
    queries, depth = perceiver.integer("resampler_n_latents"), perceiver.integer("resampler_depth")
    perceiver.finish()
    return (
        *found,
        *linear("projector.gate_proj", inner, wide),
        *linear("projector.up_proj", inner, wide),
        *linear("projector.down_proj", text_hidden_size, inner),
        Weight("perceiver.latents", (queries, size), "embedding"),
        *layer * depth,
        *norm("perceiver.norm", size),
    )


def aria(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Aria: one layer of attention with two projections before it, and an MLP."""
    found, size = encoder(fields), fields.integer("hidden_size")
    outer.ignore("projector_patch_to_query_dict")
    queries = outer.integer("max_value_projector_patch_to_query_dict", default=256)
    for name in ("q_proj", "k_proj", "v_proj"):
        found += linear(f"projector.{name}", size, size)
    return (
        *found,
        Weight("projector.query", (queries, size), "embedding"),
        *linear("projector.in_proj", 3 * size, size, bias=True),
        *linear("projector.out_proj", size, size, bias=True),
        *linear("projector.linear", size, size, bias=True),
        *norm("projector.norm", size, bias=True) * 3,
        *linear("projector.linear_in", text_hidden_size, size),
        *linear("projector.linear_out", text_hidden_size, text_hidden_size),
    )


def molmo2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Molmo 2: attention pools neighbouring patches of two layers, then a gated projection."""
    fields.fill(hidden_size=1152, intermediate_size=4304, num_hidden_layers=25, patch_size=14)
    count, inner = fields.integer("num_hidden_layers"), fields.integer("intermediate_size")
    size, vision = fields.integer("hidden_size"), widths_of(fields)
    places = fields.integer("num_position_embeddings", default=729)
    bias = fields.flag("attention_bias", default=True)
    layer = blocks(
        count, size, inner, qkv_bias=bias, out_bias=bias, width=vision[0], kv_width=vision[1]
    )
    adapter = outer.part("adapter_config")
    adapter.fill(hidden_size=1152, intermediate_size=18944, vision_feature_layer=[24, 18])
    joins(adapter, "text_hidden_size", text_hidden_size, default=3584)
    pooled, (wide, kv) = adapter.integer("hidden_size"), widths_of(adapter)
    joined = pooled * len(adapter.sequence("vision_feature_layer") or [])
    middle = adapter.integer("intermediate_size")
    with_bias = adapter.flag("attention_bias", default=True)
    mlp_bias = adapter.flag("mlp_bias", default=False)
    adapter.finish()
    return (
        *patches(fields, size, frames=1, bias=True),
        Weight("vision.positions", (places, size), "embedding"),
        *layer,
        *linear("projector.q_proj", wide, joined, bias=with_bias),
        *linear("projector.k_proj", kv, joined, bias=with_bias),
        *linear("projector.v_proj", kv, joined, bias=with_bias),
        *linear("projector.o_proj", pooled, wide, bias=with_bias),
        *linear("projector.gate_proj", middle, pooled, bias=mlp_bias),
        *linear("projector.up_proj", middle, pooled, bias=mlp_bias),
        *linear("projector.down_proj", text_hidden_size, middle),
    )


def widths_of(fields: Fields) -> tuple[int, int]:
    """Widths of queries, and of keys and values, of sixteen heads of 72 unless they are given."""
    head = fields.integer("head_dim", default=72)
    names = ("num_attention_heads", "num_key_value_heads")
    heads, kv = (fields.integer(name, default=16) for name in names)
    return heads * head, kv * head
