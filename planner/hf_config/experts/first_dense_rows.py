"""Rows of families with experts in all layers but the first ones; see rows.

Source of the rows: the reference implementation of each type in Hugging Face transformers 5.23;
deepseek and bailing_moe: the modelling code published beside their weights.
"""

from dataclasses import replace

from planner.hf_config.experts.slides import cohere2_moe_slides, dots1_slides, every_but
from planner.hf_config.experts.traits import BIASED, Sparse
from planner.hf_config.layers.attention_extras import gate
from planner.hf_config.layers.experts import Experts

FIRST_DENSE = {
    "glm4_moe": Sparse(
        num_key_value_heads=8,
        qkv_bias=("attention_bias", False),
        qk_norm=("use_qk_norm", "head"),
        experts=Experts(where="first", shared=True),
        defaults={"first_k_dense_replace": 1, "n_shared_experts": 1},
    ),
    "glm4v_moe_text": Sparse(
        num_key_value_heads=8,
        qkv_bias=("attention_bias", True),
        experts=Experts(where="first", shared=True),
        defaults={"first_k_dense_replace": 1, "n_shared_experts": 1},
        expects={"use_qk_norm": (False,)},
    ),
    "deepseek": Sparse(
        **BIASED, experts=Experts(where="first", shared=True), expects={"mlp_bias": (False,)}
    ),
    "bailing_moe": Sparse(
        qkv_bias=("use_qkv_bias", False),
        o_bias=("use_bias", False),
        qk_norm=("use_qk_norm", "head"),
        experts=Experts(
            where="first", shared=True, same_size="moe_shared_expert_intermediate_size"
        ),
        expects={
            "use_bias": (False,),
            "moe_router_enable_expert_bias": (True, False),
            "moe_router_enable_shared_expert": (True,), "use_sliding_window": (False,),
        },
        ignored=(
            "norm_head", "norm_softmax", "score_function", "max_window_layers", "use_rmsnorm",
        ),
    ),
    "dots1": Sparse(
        num_key_value_heads=32,
        **BIASED,
        qk_norm="head",
        slides=dots1_slides,
        window=4096,
        needs=("n_shared_experts",),
        experts=Experts(where="first", shared=True),
    ),
    "cohere2_moe": Sparse(
        **BIASED,
        norms_per_layer=1,
        tied=True,
        head_dim=128,
        slides=cohere2_moe_slides,
        window=4096,
        dense_size="prefix_dense_intermediate_size",
        experts=Experts(where="first", listed=True, size="intermediate_size", shared=True),
        ignored=(
            "shared_expert_combination_strategy", "expert_selection_fn",
            "first_k_dense_replace", "prefix_dense_sliding_window_pattern",
            "prefix_dense_intermediate_size",
        ),
    ),
    "exaone_moe": Sparse(
        num_key_value_heads=32,
        qk_norm="head",
        windows="pattern",
        window=4096,
        period=4,
        experts=Experts(where="first", listed=True, shared=True),
        defaults={"first_k_dense_replace": 1, "num_shared_experts": 1},
        expects={"first_last_k_dense_replace": (1,)},
    ),
    "afmoe": Sparse(
        **BIASED,
        norms_per_layer=4,
        head_dim=128,
        qk_norm="head",
        attention_extras=gate,
        slides=every_but("global_attn_every_n_layers", 4),
        window=1024,
        experts=Experts(where="first", shared=True, score_bias=True),
        defaults={"num_dense_layers": 1, "num_shared_experts": 2},
        ignored=(
            "mup_enabled", "load_balance_coeff", "num_expert_groups", "num_limited_groups",
            "score_func", "use_grouped_mm",
        ),
    ),
    "hy_v3": Sparse(
        num_key_value_heads=8,
        **BIASED,
        mlp_bias=("mlp_bias", False),
        head_dim=128,
        qk_norm="head",
        experts=Experts(
            where="but_one",
            listed=True,
            same_size="expert_hidden_dim",
            shared=True,
            least_shared=1,
            mlp_bias="mlp_bias",
        ),
        defaults={"num_shared_experts": 1},
        expects={"qk_norm": (True,), "first_k_dense_replace": (1,)},
        ignored=(
            "enable_moe_fp32_combine", "enable_lm_head_fp32", "enable_attention_fp32_softmax",
            "moe_router_enable_expert_bias", "moe_router_use_sigmoid", "use_grouped_mm",
        ),
    ),
}  # fmt: skip

FIRST_DENSE["sarvam_moe"] = replace(
    FIRST_DENSE["glm4_moe"],
    num_key_value_heads=4,
    head_dim=64,
    qk_norm_default=True,
    experts=Experts(where="first", shared=True, least_shared=1),
    defaults={"first_k_dense_replace": 1},
    aliases={"attention_bias": ("use_qkv_bias",)},
)
FIRST_DENSE["bailing_moe_v2"] = FIRST_DENSE["bailing_moe"]
FIRST_DENSE["deepseek_ocr2_text"] = replace(
    FIRST_DENSE["deepseek"], experts=Experts(where="first", listed=True, shared=True)
)
