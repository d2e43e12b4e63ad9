"""An encoder and what joins neighbouring patches of its output into one token.

Each takes the vision fields, the outer fields and the text decoder's hidden size. Source: the
classes of the outer `model_type` in Hugging Face transformers 5.24.
"""

from math import prod

from planner.hf_config.reader import Fields, short
from planner.hf_config.towers.encoder_blocks import blocks
from planner.hf_config.towers.joining import joins, two_layers, two_numbers
from planner.hf_config.towers.patch_mergers import clip_of_frames, merger, side_by_side
from planner.hf_config.towers.vision_encoders import (
    around,
    headless,
    layers,
    moonvit,
    paddleocr,
    patches,
    positions,
)
from planner.tensors import Weight, linear, norm


def paddle(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """PaddleOCR-VL: a norm over patches, then the merger."""
    fields.ignore("temporal_patch_size")
    found, size = paddleocr(fields), fields.integer("hidden_size")
    found += norm("merger.norm", size, bias=True)
    return found + merger(side_by_side(fields, size), text_hidden_size)


def kimi(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Kimi K2.5: MoonViT, a norm over patches, then the merger. K3: no biases, a norm behind."""
    found, size = moonvit(fields), fields.integer("hidden_size")
    fields.expect("mm_projector_type", "patchmerger", "patchmergerv2")
    fields.expect("mm_hidden_size", size)
    fields.expect("text_hidden_size", text_hidden_size)
    outer.expect("projection_hidden_size", size)
    fields.ignore("projector_ln_eps")
    outer.ignore("projection_layer_norm_eps")
    merged = size * prod(two_numbers(fields, "merge_kernel_size", default=(2, 2), most=99))
    if fields.text("mm_projector_type", default="patchmerger") == "patchmergerv2":
        found += linear("merger.fc1", merged, merged)
        found += linear("merger.fc2", text_hidden_size, merged)
        return found + norm("merger.norm", text_hidden_size)
    found += norm("merger.norm", size, bias=True)
    return found + merger(merged, text_hidden_size)


def step(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Step-3.7: two convolutions that halve the grid, and one projection."""
    for name, known in (("width", "hidden_size"), ("layers", "num_hidden_layers")):
        if name in fields:
            fields.settle(known, fields.raw(name))
    fields.ignore("heads", "ls_init_value", "layer_scale_init_value", "intermediate_size")
    fields.expect("pool_type", "none")
    outer.expect("understand_projector_stride", 2)
    fields.fill(hidden_size=1536, num_hidden_layers=47, image_size=728, patch_size=14)
    size, ratio = fields.integer("hidden_size"), fields.raw("mlp_ratio") or 8960 / 1536
    if type(ratio) not in (int, float) or not 0 < ratio < 100:
        raise fields.refuse("mlp_ratio", f"{short(ratio)} is no ratio of widths")
    found = blocks(
        fields.integer("num_hidden_layers"), size, int(size * ratio),
        beside=(Weight("lambda", (2, size), "vector"),),
    )  # fmt: skip
    bias = outer.flag("projector_bias", default=False)
    return (
        *around(fields, found, positions(fields), patch_bias=False),
        *linear("vision.downsampler1", 2 * size, 9 * size, bias=True, role="conv"),
        *linear("vision.downsampler2", 4 * size, 18 * size, bias=True, role="conv"),
        *linear("projector", text_hidden_size, 4 * size, bias=bias),
    )


def hunyuan(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """HunyuanOCR: positions for the largest image, a convolving merger and four marks."""
    fields.fill(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27)
    fields.fill(patch_size=16, max_image_size=2048)
    fields.ignore("out_hidden_size", "interpolate_mode", "img_max_token_num", "min_image_size",
                  "max_vit_seq_len", "temporal_patch_size", "num_key_value_heads")  # fmt: skip
    joins(fields, "text_hidden_size", text_hidden_size, default=3072)
    size, merge = fields.integer("hidden_size"), fields.integer("spatial_merge_size", default=2)
    places = (fields.integer("max_image_size") // fields.integer("patch_size")) ** 2 + 1
    return (
        *around(fields, layers(fields), places, norms=0),
        *linear("merger.conv", 2 * size, size * merge**2, bias=True, role="conv"),
        *linear("merger.out", 4 * size, 2 * size, bias=True, role="conv"),
        *linear("merger.mlp", text_hidden_size, 4 * size, bias=True),
        Weight("merger.newline", (4 * size,), "embedding"),
        Weight("merger.marks", (3, text_hidden_size), "embedding"),
        *norm("merger.before_norm", size),
        *norm("merger.after_norm", text_hidden_size),
    )


def minicpm(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """MiniCPM-V 4.6: SigLIP with a merger among its layers, and one behind them."""
    fields.fill(hidden_size=768, intermediate_size=3072, num_hidden_layers=12)
    fields.fill(image_size=224, patch_size=16)
    fields.ignore("insert_layer_id")
    fields.expect("window_kernel_size", [2, 2])
    outer.expect("merge_kernel_size", [2, 2])
    outer.ignore("downsample_mode")
    times = outer.integer("merger_times", default=1, most=8)
    size, inner = fields.integer("hidden_size"), fields.integer("intermediate_size")
    found = headless(fields, positions(fields))
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        found += linear(f"vision.merger.{name}", size, size, bias=True)
    return (
        *found,
        *norm("vision.merger.layer_norm", size, bias=True),
        *norm("vision.merger.pre_norm", 4 * size, bias=True),
        *linear("vision.merger.linear_1", 4 * inner, 4 * size, bias=True),
        *linear("vision.merger.linear_2", size, 4 * inner, bias=True),
        *norm("merger.norm", 4 * size, bias=True) * times,
        *merger(4 * size, size) * (times - 1),
        *merger(4 * size, text_hidden_size),
    )


def lfm3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """LFM3-VL: gated convolutions over the grid in most layers, attention in the others."""
    fields.fill(hidden_size=1024, intermediate_size=2560, num_hidden_layers=14, patch_size=16)
    fields.fill(num_attention_heads=16, num_key_value_heads=8)
    size, inner = fields.integer("hidden_size"), fields.integer("intermediate_size")
    count = fields.integer("num_hidden_layers")
    kernel = fields.integer("conv_kernel_size", default=3)
    head = size // fields.integer("num_attention_heads")
    kinds = fields.sequence("layer_types", length=count)
    if kinds is None:
        kinds = ["conv" if i < 2 or i % 2 else "full_attention" for i in range(count)]
    mixing = {
        "conv": (
            *linear("conv.in_proj", 3 * size, size),
            Weight("conv.spatial", (size, kernel**2), "conv"),
            *linear("conv.out_proj", size, size),
        ),
        "full_attention": (
            *linear("attn.q_proj", size, size),
            *linear("attn.kv_proj", 2 * head * fields.integer("num_key_value_heads"), size),
            *linear("attn.out_proj", size, size),
            *norm("attn.head_norm", head) * 2,
        ),
    }
    every = (
        *linear("mlp.gate", inner, size),
        *linear("mlp.up", inner, size),
        *linear("mlp.down", size, inner),
        *norm("norm", size) * 2,
    )
    if not set(kinds) <= set(mixing):
        raise fields.refuse("layer_types", f"{short(kinds)} holds a type that is not known here")
    parts = [(every, count), *((mixing[kind], kinds.count(kind)) for kind in mixing)]
    wide = outer.integer("projector_hidden_size", default=4096)
    bias = outer.flag("projector_bias", default=True)
    return (
        *clip_of_frames(fields, size, bias=False),
        *norm("vision.embedding_norm", size),
        *(
            Weight(f"vision.{w.name}", w.shape, w.role, copies=n)
            for ws, n in parts
            for w in ws
            if n
        ),
        *norm("projector.norm", size, bias=True),
        *two_layers(side_by_side(fields, size), wide, text_hidden_size, bias=bias),
    )


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
