"""Towers that see with the encoder of Segment Anything.

Each takes the vision fields, the outer fields and the text decoder's hidden size. Source: the
classes of the outer `model_type` in Hugging Face transformers 5.24.
"""

from planner.hf_config.reader import Fields
from planner.hf_config.towers.encoder_blocks import blocks
from planner.hf_config.towers.joining import two_numbers
from planner.hf_config.towers.vision_encoders import patches
from planner.hf_config.towers.vision_projectors import encoder
from planner.tensors import Weight, linear, norm

GLOBAL = [2, 5, 8, 11]
QUERIES = 12 * 12 + 16 * 16
"""For images of 768 pixels and of 1,024."""


def sam(fields: Fields) -> tuple[Weight, ...]:
    """The encoder: windows in most layers, the whole image in some, and a convolving neck."""
    fields.fill(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, output_channels=256)
    fields.fill(image_size=1024, patch_size=16, window_size=14, global_attn_indexes=GLOBAL)
    fields.ignore("num_pos_feats", "scale", "window_size")
    size, count = fields.integer("hidden_size"), fields.integer("num_hidden_layers")
    inner = fields.optional("mlp_dim") or 4 * size
    fields.ignore("mlp_ratio")
    side = fields.integer("image_size") // fields.integer("patch_size")
    heads = fields.integer("num_attention_heads")
    chosen = fields.sequence("global_attn_indexes") or []
    whole = len({layer for layer in chosen if layer in range(count)})
    found = patches(fields, size, frames=1, bias=True)
    if fields.flag("use_abs_pos", default=True):
        found += (Weight("vision.positions", (side * side, size), "embedding"),)
    if fields.flag("use_rel_pos", default=True):
        window = fields.integer("window_size")
        rows = whole * (2 * side - 1) + (count - whole) * (2 * window - 1)
        found += (Weight("vision.relative", (2, rows, size // heads), "embedding"),)
    found += blocks(count, size, inner, qkv_bias=fields.flag("qkv_bias", default=True))
    return found + neck("vision.neck", size, fields.integer("output_channels"))


def neck(name: str, size: int, channels: int) -> tuple[Weight, ...]:
    """Two convolutions, each with a norm."""
    return (
        *linear(f"{name}.conv1", channels, size, role="conv"),
        *linear(f"{name}.conv2", channels, 9 * channels, role="conv"),
        *norm(f"{name}.norm", channels, bias=True) * 2,
    )


def got_ocr(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """GOT-OCR 2: two convolutions that halve the grid and one projection."""
    found, channels = sam(fields), fields.integer("output_channels")
    found += linear("projector.conv1", 2 * channels, 9 * channels, role="conv")
    found += linear("projector.conv2", 4 * channels, 18 * channels, role="conv")
    return found + linear("projector", text_hidden_size, 4 * channels, bias=True)


def deepseek_ocr2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """DeepSeek-OCR 2: Segment Anything, then a decoder's layers that read learned queries."""
    high, deep = fields.part("sam_config"), fields.part("encoder_config")
    found = sam(high)
    channels = high.integer("output_channels")
    first, second = two_numbers(high, "downsample_channels", default=(512, 896))
    high.finish()
    deep.fill(hidden_size=4096, intermediate_size=22016, num_hidden_layers=32)
    deep.fill(num_attention_heads=32, num_key_value_heads=32)
    deep.ignore(
        "vocab_size", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types",
        "tie_word_embeddings",
    )  # fmt: skip
    size, heads = deep.integer("hidden_size"), deep.integer("num_attention_heads")
    head = deep.optional("head_dim") or size // heads
    found += linear("vision.conv1", first, 9 * channels, role="conv")
    found += linear("vision.conv2", second, 9 * first, role="conv")
    found += blocks(
        deep.integer("num_hidden_layers"), size, deep.integer("intermediate_size"), gated=True,
        bias=False, qkv_bias=True, width=heads * head,
        kv_width=deep.integer("num_key_value_heads") * head,
    )  # fmt: skip
    deep.finish()
    return (
        *found,
        *norm("vision.norm", size),
        Weight("vision.queries", (QUERIES, size), "embedding"),
        *linear("projector", text_hidden_size, size, bias=True),
        Weight("projector.view_separator", (text_hidden_size,), "embedding"),
    )


def deepseek_vl_hybrid(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """DeepSeek-VL 7B: SigLIP beside Segment Anything, which has a second neck."""
    found = encoder(fields)
    high = outer.part("high_res_vision_config")
    found += sam(high)
    high.finish()
    size, channels = high.integer("hidden_size"), high.integer("output_channels")
    half = text_hidden_size // 2
    return (
        *found,
        *neck("vision.high_res_neck", size, channels),
        *linear("vision.high_res_conv1", 2 * channels, 9 * channels, role="conv"),
        *linear("vision.high_res_conv2", 4 * channels, 18 * channels, role="conv"),
        Weight("vision.high_res_alpha", (1,), "vector"),
        *linear("projector.vision", half, fields.integer("hidden_size"), bias=True),
        *linear("projector.high_res", half, 4 * channels, bias=True),
        *linear("projector", text_hidden_size, 2 * half, bias=True),
    )
