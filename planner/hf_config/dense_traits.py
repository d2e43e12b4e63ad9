"""One row per dense family that Hugging Face transformers implements.

Source of the rows: the reference implementation of each type in transformers 5.23.
"""

from dataclasses import replace

from planner.hf_config.traits import Traits

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

TRAITS: dict[str, Traits] = {
    "arcee": replace(LLAMA, gated=False),
    "cohere": COHERE,
    "cohere2": replace(
        COHERE,
        qk_norm="none",
        windows="pattern",
        window=4096,
        period=4,
        expects={
            "use_qk_norm": (False,),
            "use_gated_activation": (True,),
            "use_parallel_block": (True,),
            "use_embedding_sharing": (True,),
            "order_of_interleaved_layers": ("local_attn_first",),
            "layer_switch": (4,),
            "mlp_bias": (False,),
        },
        ignored=("position_embedding_type", "rotary_pct", "use_parallel_embedding"),
    ),
    "cwm": Traits(
        mlp_bias=("mlp_bias", False),
        num_key_value_heads=8,
        head_dim=128,
        windows="first",
        window=8192,
        period=4,
        expects={"attention_bias": (False,)},
    ),
    "ernie4_5": ERNIE,
    "paddleocr_vl": ERNIE,
    "paddleocr_vl_text": ERNIE,
    "dots_ocr": replace(QWEN2, expects={"attention_bias": (True,)}),
    "exaone4": EXAONE4,
    "gemma": GEMMA,
    "gemma2": GEMMA2,
    "gemma3_text": replace(GEMMA2, qk_norm="head", windows="pattern", period=6, ignored=()),
    "vaultgemma": replace(GEMMA2, norms_per_layer=2, ignored=()),
    "glm": GLM,
    "glm4": replace(GLM, norms_per_layer=4),
    "glm4v_text": replace(
        GLM,
        qkv_bias=True,
        norms_per_layer=4,
        head_dim=None,
        divides=True,
        expects={"attention_bias": (True,), "mlp_bias": (False,)},
    ),
    "glm_ocr_text": replace(
        GLM,
        qkv_bias=False,
        norms_per_layer=4,
        head_dim=None,
        num_key_value_heads=8,
        ignored=("attention_bias",),
    ),
    "granite": LLAMA,
    "granite4_vision_text": LLAMA,
    "helium": replace(LLAMA, o_bias=False, num_key_value_heads=20, head_dim=128, divides=True),
    "hunyuan_v1_dense": HUNYUAN,
    "hunyuan_vl_text": replace(
        HUNYUAN, tied=True, aliases={**HUNYUAN.aliases, "vocab_size": ("org_vocab_size",)}
    ),
    "hyperclovax": replace(LLAMA, norms_per_layer=2, other_norms=("use_post_norm", True, 4)),
    "internlm3": replace(
        BIASLESS,
        num_key_value_heads=2,
        head_dim=128,
        expects={"qkv_bias": (False,), "bias": (False,)},
    ),
    "iquestcoder": replace(LLAMA, num_key_value_heads=8, head_dim=128),
    "jais2": replace(
        LLAMA,
        norm="layer",
        gated=False,
        qkv_bias=("attention_bias", True),
        o_bias=("attention_bias", True),
        mlp_bias=("mlp_bias", True),
    ),
    "llama": LLAMA,
    "ministral": MISTRAL,
    "ministral3": replace(MISTRAL, head_dim=128, window=None),
    "mistral": replace(
        MISTRAL,
        aliases={"sliding_window": ("sliding_window_size",)},
        ignored=("attention_sink_size",),
    ),
    "nanochat": replace(ATTENTION_BIAS, norm="none", norms_per_layer=0, gated=False, divides=True),
    "nemotron": replace(LLAMA, norm="layer", gated=False),
    "olmo": replace(ATTENTION_BIAS, norm="none", norms_per_layer=0, divides=True),
    "olmo2": OLMO2,
    "olmo3": replace(OLMO2, windows="last", window=4096, period=4),
    "persimmon": Traits(
        norm="layer",
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        qk_norm=("qk_layernorm", "head"),
        qk_norm_default=True,
        qk_norm_bias=True,
        gated=False,
        divides=True,
        multi_head=True,
    ),
    "phi": Traits(
        norm="layer",
        norms_per_layer=1,
        qkv_bias=True,
        o_bias=True,
        mlp_bias=True,
        qk_norm=("qk_layernorm", "head"),
        qk_norm_bias=True,
        gated=False,
        head_bias=True,
        divides=True,
    ),
    "phi3": replace(
        BIASLESS,
        windows="every",
        expects={
            "attention_bias": (False,),
            "mlp_bias": (False,),
            "lm_head_bias": (False,),
            "full_attn_mod": (1,),
        },
        ignored=("interpolate_factor",),
    ),
    "phi3_v": replace(BIASLESS, windows="every", ignored=("embd_layer", "img_processor")),
    "phi4_multimodal": replace(BIASLESS, num_key_value_heads=8, windows="every"),
    "qwen2": QWEN2,
    "qwen2_vl": QWEN2_VL,
    "qwen2_vl_text": QWEN2_VL,
    "qwen2_5_vl": QWEN2_VL,
    "qwen2_5_omni_text": QWEN2_VL,
    "qwen2_5_vl_text": QWEN2_VL,
    "qwen3": QWEN3,
    "qwen3_vl_text": replace(QWEN3, windows="none", window=None),
    "seed_oss": replace(
        LLAMA,
        qkv_bias=("attention_bias", True),
        o_bias=("attention_out_bias", False),
        num_key_value_heads=8,
        head_dim=128,
    ),
    "smollm3": replace(
        LLAMA,
        tied=True,
        num_key_value_heads=4,
        windows="without_rope",
        ignored=("max_window_layers",),
    ),
    "stablelm": STABLELM,
    "starcoder2": Traits(
        norm="layer",
        qkv_bias=("use_bias", True),
        o_bias=("use_bias", True),
        mlp_bias=("use_bias", True),
        gated=False,
        tied=True,
        num_key_value_heads=2,
        windows="every",
        expects={"mlp_type": ("default",), "norm_type": ("layer_norm",)},
    ),
}
