"""Towers whose code is published beside their weights, not in transformers.

Each takes the vision fields, the outer fields and the text decoder's hidden size. Source: the
modeling files in the families' own repositories, as vLLM carries them (intern_vit.py,
deepencoder.py, minicpmv.py, phi3v.py).
"""

from planner.hf_config.reader import Fields
from planner.hf_config.towers.joining import joins, two_layers
from planner.hf_config.towers.segment_anything import sam
from planner.hf_config.towers.vision_encoders import clip, headless, intern_vit, positions
from planner.tensors import Weight, linear, norm

INTERN = {"qkv_bias": "attention_bias", "qk_normalization": "use_qk_norm"}
"""The publisher's names of fields, and those that transformers gives them."""
EXPERTS = (
    "capacity_factor", "eval_capacity_factor", "laux_allreduce", "moe_coeff_ratio",
    "moe_intermediate_size", "moe_output_scale", "noisy_gate_policy", "num_experts",
    "num_routed_experts", "num_shared_experts", "shared_expert_intermediate_size", "use_residual",
    "use_rts", "use_weighted_residual",
)  # fmt: skip
"""Fields of experts that no published tower switches on."""


CLIP_L = {
    "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "image_size": 336,
    "patch_size": 14,
}  # fmt: skip
"""openai/clip-vit-large-patch14-336."""


def intern_chat(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """InternVL 2 to 3.5: InternViT, two by two patches as one, a norm and two layers."""
    fields.fill(hidden_size=3200, intermediate_size=12800, num_hidden_layers=48, image_size=224)
    fields.fill(patch_size=14, qkv_bias=False, qk_normalization=True, norm_type="rms_norm")
    for name, known in INTERN.items():
        fields.settle(known, fields.raw(name))
    fields.expect("use_moe", False)
    fields.ignore(*EXPERTS)
    found = intern_vit(fields)
    outer.expect("downsample_ratio", 0.5)
    outer.expect("select_layer", -1)
    wide = 4 * fields.integer("hidden_size")
    return (
        *found,
        *norm("projector.norm", wide, bias=True),
        *two_layers(wide, text_hidden_size, text_hidden_size),
    )


def deepseek_ocr(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """DeepSeek-OCR: Segment Anything feeds CLIP; both, side by side, go through one projection."""
    fields.expect("model_name", "deeplip_b_l")
    fields.ignore("model_type", "mlp_ratio")
    towers = fields.part("width")
    high, low = towers.child("sam_vit_b"), towers.child("clip-l-14-224")
    if high is None or low is None:
        raise fields.refuse("width", "does not describe sam_vit_b and clip-l-14-224")
    towers.finish()
    for one in (high, low):
        one.settle("hidden_size", one.integer("width"))
        one.settle("num_hidden_layers", one.integer("layers"))
        one.settle("num_attention_heads", one.integer("heads"))
    high.expect("downsample_channels", [512, 1024])
    low.settle("intermediate_size", 4 * low.integer("hidden_size"))
    found, channels = sam(high), 256
    found += linear("vision.conv1", 512, 9 * channels, role="conv")
    found += linear("vision.conv2", 1024, 9 * 512, role="conv")
    seen = clip(low)
    found += seen[:-2]  # no norm stands behind its layers
    high.finish()
    low.finish()
    projector = outer.part("projector_config")
    projector.expect("projector_type", "linear")
    wide = projector.integer("input_dim", default=2048)
    joins(projector, "n_embed", text_hidden_size, default=1280)
    projector.finish()
    return (
        *found,
        *linear("projector", text_hidden_size, wide, bias=True),
        Weight("projector.marks", (2, text_hidden_size), "embedding"),
    )


def minicpmv(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """MiniCPM-V 2.5 to 4.5: SigLIP without its head, and one layer of attention that asks it."""
    fields.expect("model_type", "siglip", "siglip_vision_model", "idefics2")
    fields.fill(hidden_size=1152, intermediate_size=4304, num_hidden_layers=27)
    fields.fill(image_size=980, patch_size=14)
    if outer.flag("drop_vision_last_layer", default=False):
        fields.settle("num_hidden_layers", fields.integer("num_hidden_layers") - 1)
    found, size = headless(fields, positions(fields)), text_hidden_size
    queries = outer.integer("query_num", default=64)
    return (
        *found,
        Weight("resampler.query", (queries, size), "embedding"),
        *linear("resampler.kv_proj", size, fields.integer("hidden_size")),
        *linear("resampler.in_proj", 3 * size, size, bias=True),
        *linear("resampler.out_proj", size, size, bias=True),
        *norm("resampler.norm", size, bias=True) * 3,
        *linear("resampler.proj", size, size),
    )


def phi3_vision(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Phi-3 Vision: CLIP, four patches as one, two layers and two marks between parts."""
    fields.expect("name", "clip_vision_model")
    fields.expect("model_name", "openai/clip-vit-large-patch14-336")
    fields.ignore("num_img_tokens", "layer_idx")
    fields.expect("image_dim_out", CLIP_L["hidden_size"])
    joining = outer.part("embd_layer")
    joining.expect("embedding_cls", "image")
    joining.expect("projection_cls", "mlp")
    for name in ("use_hd_transform", "with_learnable_separator"):
        joining.expect(name, True)
    joining.ignore("hd_transform_order")
    joining.finish()
    wide = 4 * CLIP_L["hidden_size"]
    return (
        *clip(Fields(CLIP_L)),
        *two_layers(wide, text_hidden_size, text_hidden_size),
        Weight("projector.marks", (2, wide), "embedding"),
    )
