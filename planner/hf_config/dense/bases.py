"""Traits that the rows of several dense families start from.

Source: the reference implementation of each family in transformers 5.23.
"""

from dataclasses import replace

from planner.hf_config.dense.traits import Traits

LLAMA = Traits(
    qkv_bias=("attention_bias", False),
    o_bias=("attention_bias", False),
    mlp_bias=("mlp_bias", False),
    ignored=(
        "is_llama_config",
        "neftune_noise_alpha",
        "pixel_shuffle_factor",
        "rope_interleaved",
    ),
)
BIASLESS = Traits(expects={"attention_bias": (False,), "mlp_bias": (False,)})
ATTENTION_BIAS = replace(LLAMA, mlp_bias=False, ignored=(), expects={"mlp_bias": (False,)})
MISTRAL = replace(BIASLESS, num_key_value_heads=8, windows="every", window=4096)
QWEN2 = Traits(qkv_bias=True, num_key_value_heads=32, windows="qwen", window=4096)
QWEN2_VL = replace(QWEN2, num_key_value_heads=8, divides=True)
QWEN3 = replace(
    ATTENTION_BIAS,
    qk_norm="head",
    num_key_value_heads=32,
    head_dim=128,
    windows="qwen",
    window=4096,
)
GEMMA = replace(
    ATTENTION_BIAS,
    tied=True,
    head_dim=256,
    num_key_value_heads=16,
    expects={"mlp_bias": (False,), "use_bidirectional_attention": (False,)},
)
GEMMA2 = replace(
    GEMMA,
    norms_per_layer=4,
    num_key_value_heads=4,
    windows="alternate",
    window=4096,
    ignored=("sliding_window_size",),
)
COHERE = replace(
    ATTENTION_BIAS,
    norms_per_layer=1,
    qk_norm=("use_qk_norm", "width"),
    tied=True,
    divides=True,
)
GLM = Traits(
    qkv_bias=("attention_bias", True),
    num_key_value_heads=2,
    head_dim=128,
    expects={"mlp_bias": (False,)},
)
OLMO2 = replace(ATTENTION_BIAS, qk_norm="width")
EXAONE4 = replace(
    BIASLESS,
    qk_norm="head",
    num_key_value_heads=32,
    windows="pattern",
    window=4096,
    period=4,
)
STABLELM = Traits(
    norm="layer",
    other_norms=("use_parallel_residual", False, 1),
    qkv_bias=("use_qkv_bias", False),
    qk_norm=("qk_layernorm", "width"),
    num_key_value_heads=32,
    divides=True,
    expects={"attention_bias": (False,), "mlp_bias": (False,)},
)
HUNYUAN = replace(
    ATTENTION_BIAS,
    qk_norm="head",
    expects={
        "use_qk_norm": (True,),
        "use_cla": (False,),
        "mlp_bias": (False,),
        "num_experts": (1,),
        "add_classification_head": (False,),
    },
    aliases={"head_dim": ("attention_head_dim",)},
    ignored=(
        "cla_share_factor",
        "class_num",
        "dense_list",
        "norm_type",
        "num_media_embeds",
        "org_vocab_size",
        "pool_type",
        "use_rotary_pos_emb",
    ),
)
ERNIE = Traits(
    qkv_bias=("use_bias", False),
    o_bias=("use_bias", False),
    mlp_bias=("use_bias", False),
    tied=True,
    num_key_value_heads=2,
    head_dim=128,
    ignored=(
        "compression_ratio",
        "ignored_index",
        "rope_is_neox_style",
        "use_3d_rope",
        "use_flash_attention",
        "weight_share_add_bias",
    ),
)
