"""Audio encoders and their projectors, where the fields settle every tensor.

Each takes the audio fields, the outer fields and the text decoder's hidden size. Source: the
classes of the outer `model_type` in Hugging Face transformers 5.24.
"""

from planner.hf_config.reader import Fields
from planner.hf_config.towers.encoder_blocks import blocks
from planner.hf_config.towers.joining import joins, two_layers
from planner.tensors import Weight, linear, norm


def widths(fields: Fields) -> tuple[int, int, int]:
    """Hidden size, inner size and layers, under Whisper's names or the usual ones."""
    fields.ignore(
        "encoder_attention_heads", "num_attention_heads", "scale_embedding", "vocab_size",
        "activation_function", "encoder_layerdrop",
    )  # fmt: skip
    return (
        fields.integer("d_model", "hidden_size", default=1280),
        fields.integer("encoder_ffn_dim", "intermediate_size", default=5120),
        fields.integer("encoder_layers", "num_hidden_layers", default=32),
    )


def convolutions(fields: Fields, size: int) -> tuple[Weight, ...]:
    """Two convolutions over three frames each."""
    bins = fields.integer("num_mel_bins", default=128)
    found = linear("audio.conv1", size, 3 * bins, bias=True, role="conv")
    return found + linear("audio.conv2", size, 3 * size, bias=True, role="conv")


def whisper(fields: Fields, *, learned: bool = True) -> tuple[Weight, ...]:
    """Whisper's encoder: keys have no bias. learned: a position for every frame."""
    size, inner, count = widths(fields)
    found = convolutions(fields, size)
    places = fields.integer("max_source_positions", "max_position_embeddings", default=1500)
    if learned:
        found += (Weight("audio.positions", (places, size), "embedding"),)
    found += blocks(count, size, inner, part="audio", key_bias=False)
    return found + norm("audio.norm", size, bias=True)


def qwen2(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen2-Audio: one projection."""
    found = whisper(fields)
    return found + linear("projector", text_hidden_size, widths(fields)[0], bias=True)


def voxtral(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Voxtral: frames side by side, as wide as the encoder's MLP."""
    found, text = whisper(fields), text_hidden_size
    return found + two_layers(widths(fields)[1], text, text, bias=False)


def voxtral_realtime(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Voxtral Realtime: a causal encoder with gated layers and rotary positions."""
    fields.ignore("sliding_window")
    size, inner, count = widths(fields)
    heads = fields.integer("num_attention_heads", default=32)
    head_dim = fields.integer("head_dim", default=64)
    found = convolutions(fields, size)
    found += blocks(
        count, size, inner, part="audio", gated=True, key_bias=False, mlp_bias=False,
        down_bias=True, width=heads * head_dim,
    )  # fmt: skip
    outer.ignore("audio_length_per_tok")
    merged, text = size * outer.integer("downsample_factor", default=4), text_hidden_size
    return found + norm("audio.norm", size) + two_layers(merged, text, text, bias=False)


def audio_flamingo(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Audio Flamingo 3."""
    found, bias = whisper(fields), outer.flag("projector_bias", default=True)
    text = text_hidden_size
    return found + two_layers(widths(fields)[0], text, text, bias=bias)


def glm(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """GLM-ASR: Whisper's layers with rotary positions, and a wide projector."""
    size, _, _ = widths(fields)
    heads = fields.integer("num_attention_heads", default=20)
    fields.expect("num_key_value_heads", heads)
    fields.expect("head_dim", size // heads)
    found, text = whisper(fields, learned=False), text_hidden_size
    return found + two_layers(widths(fields)[1], 2 * text, text)


def moss(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """MOSS Transcribe Diarize: frames side by side, two layers and a norm."""
    fields.fill(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_mel_bins=80)
    found, text = whisper(fields), text_hidden_size
    wide = widths(fields)[0] * outer.integer("audio_merge_size", default=4)
    bias = outer.flag("projector_bias", default=True)
    found += two_layers(wide, text, text, bias=bias)
    return found + norm("projector.norm", text, bias=True)


def qwen2_5_omni(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen2.5-Omni: positions are computed; two vectors mark where sound begins and ends."""
    fields.ignore("n_window")
    found = whisper(fields, learned=False)
    joins(fields, "output_dim", text_hidden_size, default=3584)
    found += (Weight("audio.marks", (2, text_hidden_size), "embedding"),)
    return found + linear("projector", text_hidden_size, widths(fields)[0], bias=True)


def qwen3(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Qwen3-Omni and Qwen3-ASR: three convolutions that halve both time and frequency."""
    if fields.text("model_type", default="") == "qwen3_asr_encoder":
        fields.fill(d_model=1024, encoder_ffn_dim=4096, encoder_layers=24)
    fields.ignore("n_window", "n_window_infer", "conv_chunksize", "max_source_positions")
    size, inner, count = widths(fields)
    bins = fields.integer("num_mel_bins", default=128)
    wide = fields.integer("downsample_hidden_size", default=480)
    for _ in range(3):
        bins = (bins + 1) // 2
    joins(fields, "output_dim", text_hidden_size, default=3584)
    return (
        *linear("audio.conv1", wide, 9, bias=True, role="conv"),
        *linear("audio.conv2", wide, 9 * wide, bias=True, role="conv") * 2,
        *linear("audio.conv_out", size, wide * bins),
        *blocks(count, size, inner, part="audio"),
        *norm("audio.norm", size, bias=True),
        *two_layers(size, size, text_hidden_size),
    )


WHISPERS_DECODER = (
    "decoder_attention_heads", "decoder_ffn_dim", "decoder_layers", "decoder_layerdrop",
    "max_target_positions", "is_encoder_decoder", "median_filter_width", "classifier_proj_size",
    "mask_feature_length", "mask_feature_prob", "mask_time_length", "mask_time_prob",
    "mask_feature_min_masks", "mask_time_min_masks",
)  # fmt: skip


def ultravox(fields: Fields, outer: Fields, text_hidden_size: int) -> tuple[Weight, ...]:
    """Ultravox: Whisper, frames side by side, and a projector that gates itself.

    Source: the family's own modeling file, as vLLM carries it (ultravox.py).
    """
    fields.expect("model_type", "whisper")
    fields.ignore(*WHISPERS_DECODER)
    outer.ignore("norm_init")
    outer.expect("num_projector_layers", 0)
    found, inner = whisper(fields), outer.integer("hidden_size", default=4096)
    wide = widths(fields)[0] * outer.integer("stack_factor", default=8)
    middle = inner // 2 if outer.text("projector_act", default="swiglu") == "swiglu" else inner
    normed = middle if outer.flag("projector_ln_mid", default=False) else text_hidden_size
    return (
        *found,
        *norm("projector.ln_pre", wide),
        *linear("projector.linear_1", inner, wide),
        *linear("projector.linear_2", text_hidden_size, middle),
        *norm("projector.ln", normed),
    )
