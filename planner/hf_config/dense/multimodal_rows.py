"""Rows of dense decoders whose type stands in multimodal files only.

Source of the rows: the reference implementation of each type in transformers 5.24.
"""

from dataclasses import replace

from planner.hf_config.dense.bases import ATTENTION_BIAS, BIASLESS, COHERE, LLAMA
from planner.hf_config.dense.odd_rows import TRAITS as ODD
from planner.hf_config.dense.traits import Traits
from planner.hf_config.layers.attention_extras import gate

TRAITS: dict[str, Traits] = {
    "apertus1p5_text": replace(ODD["apertus"], head_rows="output_vocab_size"),
    "chameleon": replace(
        LLAMA,
        qk_norm="width",
        qk_norm_bias=True,
        divides=True,
        ignored=("vq_config", "vocabulary_map", "swin_norm", "model_parallel_size"),
    ),
    "cohere_compass_text": replace(
        COHERE,
        qk_norm="none",
        windows="typed",
        window=4096,
        expects={"mlp_bias": (False,), "use_qk_norm": (False,), "pooling": (None,)},
    ),
    "cosmos3_edge_text": replace(LLAMA, gated=False, num_key_value_heads=8, head_dim=128),
    "emu3_text_model": replace(BIASLESS, num_key_value_heads=8),
    "granite_docling_text": replace(LLAMA, tied=True, num_key_value_heads=4),
    "muse_glimmer_text": replace(
        ATTENTION_BIAS,
        norms_per_layer=4,
        num_key_value_heads=2,
        head_dim=128,
        windows="backward",
        window=2048,
        period=4,
        attention_extras=gate,
        ignored=("layer_rope_theta", "output_multiplier", "post_norm_eps", "qk_scale_factor"),
    ),
}
