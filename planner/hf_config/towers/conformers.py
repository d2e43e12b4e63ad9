"""Audio encoders that interleave attention with convolutions, and their projectors.

Each takes the audio fields, the outer fields and the text decoder's hidden size. Source: the
classes of the outer `model_type` in Hugging Face transformers 5.24.
"""

from planner.hf_config.reader import Fields
from planner.hf_config.towers.joining import two_numbers
from planner.hf_config.towers.resamplers import qformer
from planner.hf_config.towers.vision_projectors import embedder
from planner.tensors import Weight, linear, norm


def repeated(layer: tuple[Weight, ...], count: int) -> tuple[Weight, ...]:
    """The tensors of `count` equal layers."""
    return tuple(Weight(f"audio.{w.name}", w.shape, w.role, copies=count) for w in layer)


def granite(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Granite Speech: a conformer that reads its own draft midway, then a Q-Former over windows."""
    fields.fill(input_dim=160, num_layers=10, hidden_dim=1024, feedforward_mult=4, num_heads=8)
    fields.fill(output_dim=42, max_pos_emb=512, conv_kernel_size=15, conv_expansion_factor=2)
    fields.ignore("context_size")
    size, heads = fields.integer("hidden_dim"), fields.integer("num_heads")
    head = fields.optional("dim_head") or size // heads
    wide, inner = heads * head, size * fields.integer("feedforward_mult")
    conv, out = size * fields.integer("conv_expansion_factor"), fields.integer("output_dim")
    layer = (
        *norm("norm", size, bias=True) * 5,
        *(linear("ff.up", inner, size, bias=True) + linear("ff.down", size, inner, bias=True)) * 2,
        *linear("attn.q", wide, size),
        *linear("attn.kv", 2 * wide, size),
        *linear("attn.out", size, wide, bias=True),
        Weight("attn.relative", (2 * fields.integer("max_pos_emb") + 1, head), "embedding"),
        *linear("conv.up", 2 * conv, size, bias=True, role="conv"),
        Weight("conv.depth", (conv, fields.integer("conv_kernel_size")), "conv"),
        *norm("conv.batch_norm", conv, bias=True),
        *linear("conv.down", size, conv, bias=True, role="conv"),
    )
    asking = outer.part("projector_config")
    found = qformer(asking)
    asking.finish()
    asked = asking.integer("hidden_size")
    window = outer.integer("window_size", default=15)
    rate = outer.integer("downsample_rate", default=5)
    return (
        *linear("audio.input", size, fields.integer("input_dim"), bias=True),
        *repeated(layer, fields.integer("num_layers")),
        *linear("audio.out", out, size, bias=True),
        *linear("audio.out_mid", size, out, bias=True),
        *found,
        Weight("projector.query", (window // rate, asked), "embedding"),
        *linear("projector", text_hidden_size, asked, bias=True),
    )


def phi4(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Phi-4 multimodal's ear: a conformer with learned distances, and two projectors."""
    fields.fill(hidden_size=1024, intermediate_size=1536, num_blocks=24, num_attention_heads=16)
    fields.fill(ext_pw_out_channel=1024, depthwise_separable_out_channel=1024, kernel_size=3)
    fields.fill(nemo_conv_channels=1024, input_size=80, time_reduction=8, bias_max_distance=1000)
    fields.ignore("chunk_size", "left_chunk", "feature_layer")
    fields.ignore("activation", "conv_activation", "conv_glu_type", "nemo_activation")
    size, inner = fields.integer("hidden_size"), fields.integer("intermediate_size")
    outward = fields.integer("ext_pw_out_channel")
    separated = fields.integer("depthwise_separable_out_channel")
    multiplied = size * fields.integer("depthwise_multiplier", default=1)
    channels, bins = fields.integer("nemo_conv_channels"), fields.integer("input_size")
    halvings = fields.integer("time_reduction").bit_length() - 1
    for _ in range(halvings):
        bins = (bins + 1) // 2
    bins = fields.integer("nemo_final_size", default=bins)
    distances = fields.integer("bias_max_distance")
    if not fields.flag("bias_symmetric", default=False):
        distances *= 2
    layer = (
        *norm("norm", size, bias=True) * 5,
        *(linear("ff.up", 2 * inner, size, bias=True) + linear("ff.down", size, inner, bias=True))
        * 2,
        *linear("attn", size, size, bias=True) * 4,
        Weight("conv.glu_bias", (2, outward), "bias"),
        *linear("conv.glu", 2 * outward, size, bias=True, role="conv"),
        *linear("conv.depth", multiplied, fields.integer("kernel_size"), bias=True, role="conv"),
        *linear("conv.point", separated, multiplied, bias=True, role="conv"),
        *linear("conv.out", outward, size, bias=True, role="conv"),
    )
    wide = size * fields.integer("downsample_rate", default=1)
    projector = (
        *linear("projector.up", text_hidden_size, wide, bias=True),
        *linear("projector.down", text_hidden_size, text_hidden_size, bias=True),
    )
    return (
        *linear("audio.conv", channels, 9, bias=True, role="conv") * halvings,
        *linear("audio.point", channels, channels, bias=True, role="conv") * (halvings - 1),
        *linear("audio.input", size, channels * bins, bias=True),
        Weight("audio.relative", (distances, fields.integer("num_attention_heads")), "embedding"),
        *repeated(layer, fields.integer("num_blocks")),
        *projector * 2,
    )


def gemma4(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Gemma 4's ear: a conformer with causal convolutions over chunks."""
    fields.fill(hidden_size=1024, num_hidden_layers=12, num_attention_heads=8, conv_kernel_size=5)
    fields.fill(subsampling_conv_channels=[128, 32], output_proj_dims=1536)
    fields.ignore(
        "residual_weight", "attention_chunk_size", "attention_context_left",
        "attention_context_right", "attention_logit_cap", "attention_invalid_logits_value",
        "use_clipped_linears", "gradient_clipping",
    )  # fmt: skip
    size, out = fields.integer("hidden_size"), fields.integer("output_proj_dims")
    head = size // fields.integer("num_attention_heads")
    first, second = two_numbers(fields, "subsampling_conv_channels")
    kernel = fields.integer("conv_kernel_size")
    return (
        *subsampling(first, second, size, first // 4 * second),
        *repeated(conformer(size, head, kernel), fields.integer("num_hidden_layers")),
        *linear("audio.out", out, size, bias=True),
        *linear("projector", text_hidden_size, out),
    )


def gemma3n(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Gemma 3n's ear: Gemma 4's, whose convolutions keep all frequencies."""
    fields.fill(hidden_size=1536, conf_num_hidden_layers=12, conf_num_attention_heads=8)
    fields.fill(conf_conv_kernel_size=5, input_feat_size=128, sscp_conv_channel_size=[128, 32])
    fields.ignore(
        "conf_attention_chunk_size", "conf_attention_context_left", "gradient_clipping",
        "conf_attention_context_right", "conf_attention_logit_cap", "conf_reduction_factor",
        "conf_residual_weight", "sscp_conv_eps", "sscp_conv_group_norm_eps", "vocab_offset",
    )  # fmt: skip
    for name, only in (("sscp_conv_kernel_size", [3, 3]), ("sscp_conv_stride_size", [2, 2])):
        fields.expect(name, [only, only])
    bins = ((fields.integer("input_feat_size") + 1) // 2 + 1) // 2
    size = fields.integer("hidden_size")
    first, second = two_numbers(fields, "sscp_conv_channel_size")
    return (
        *subsampling(first, second, size, bins * second),
        *repeated(
            conformer(
                size, size // fields.integer("conf_num_attention_heads"),
                fields.integer("conf_conv_kernel_size"),
            ),
            fields.integer("conf_num_hidden_layers"),
        ),
        *embedder(fields, "projector.audio", text_hidden_size),
    )  # fmt: skip


def subsampling(first: int, second: int, size: int, wide: int) -> tuple[Weight, ...]:
    """Two convolutions over time and frequency, a norm behind each, and a projection."""
    return (
        Weight("audio.conv1", (first, 9), "conv"),
        Weight("audio.conv2", (second, 9 * first), "conv"),
        *norm("audio.norm", first + second),
        *linear("audio.input", size, wide),
    )


def conformer(size: int, head: int, kernel: int) -> tuple[Weight, ...]:
    """One layer of Gemma's conformers."""
    return (
        *norm("norm", size) * 9,
        *(linear("ff.up", 4 * size, size) + linear("ff.down", size, 4 * size)) * 2,
        *linear("attn", size, size) * 5,
        Weight("attn.scale", (head,), "vector"),
        *linear("conv.start", 2 * size, size),
        Weight("conv.depth", (size, kernel), "conv"),
        *linear("conv.end", size, size),
    )
