"""What each family with softmax attention and experts does that its configuration does not say.

`defaults` are its class's values for fields that configurations leave out.
Source of the rows: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.experts.first_dense_rows import FIRST_DENSE
from planner.hf_config.experts.slides import (
    fifth_full,
    flint_slides,
    none,
    qwen2_moe_slides,
    qwen3_moe_slides,
    sixth_and_last_full,
)
from planner.hf_config.experts.traits import BIASED, GRANITE, Sparse
from planner.hf_config.layers.attention_extras import biased_gate, gate, sinks
from planner.hf_config.layers.experts import Experts

TRAITS = {
    "mixtral": Sparse(
        windows="every",
        experts=Experts(size="intermediate_size"),
        defaults={"num_key_value_heads": 8, "num_experts_per_tok": 2, "num_local_experts": 8},
    ),
    "phimoe": Sparse(
        **BIASED,
        norm="layer",
        windows="every",
        head_bias=("lm_head_bias", False),
        experts=Experts(size="intermediate_size"),
        defaults={"num_key_value_heads": 8, "num_experts_per_tok": 2, "num_local_experts": 16},
        ignored=("input_jitter_noise",),
    ),
    "qwen2_moe": Sparse(
        num_key_value_heads=16,
        qkv_bias=("qkv_bias", True),
        experts=Experts(
            where="step", shared_size="shared_expert_intermediate_size", shared_gate=True
        ),
        slides=qwen2_moe_slides,
        defaults={"shared_expert_intermediate_size": 5632},
        window=4096,
    ),
    "qwen3_moe": Sparse(
        num_key_value_heads=4,
        **BIASED,
        qk_norm="head",
        experts=Experts(where="step"),
        zero=("shared_expert_intermediate_size",),
        expects={"use_qk_norm": (True,)},
        slides=qwen3_moe_slides,
        window=4096,
    ),
    "qwen3_vl_moe_text": Sparse(
        **BIASED,
        num_key_value_heads=16,
        qk_norm="head",
        experts=Experts(where="step"),
        expects={"sliding_window": (None,), "use_sliding_window": (False,)},
        needs=("tie_word_embeddings",),
    ),
    "olmoe": Sparse(
        **BIASED, divides=True, qk_norm="width", experts=Experts(size="intermediate_size")
    ),
    "flex_olmo": Sparse(**BIASED, qk_norm="width", experts=Experts(size="intermediate_size")),
    "gpt_oss": Sparse(
        num_key_value_heads=8,
        qkv_bias=("attention_bias", True),
        o_bias=("attention_bias", True),
        head_dim=64,
        attention_extras=sinks,
        windows="alternate",
        window=128,
        experts=Experts(size="intermediate_size", router_bias=True, expert_bias=True),
        ignored=("experts_per_token",),
    ),
    "granitemoe": Sparse(**GRANITE, experts=Experts(size="intermediate_size")),
    "granitemoeshared": Sparse(
        **GRANITE,
        experts=Experts(size="intermediate_size", shared_size="shared_intermediate_size"),
    ),
    "granitemoe_swa": Sparse(
        **GRANITE,
        attention_extras=sinks,
        windows="first",
        window=128,
        period=4,
        experts=Experts(size="intermediate_size", shared_size="shared_intermediate_size"),
        ignored=("layer_rope_theta",),
    ),
    "ernie4_5_moe": Sparse(
        num_key_value_heads=4,
        qkv_bias=("use_bias", False),
        o_bias=("use_bias", False),
        mlp_bias=("use_bias", False),
        head_bias=("use_bias", False),
        tied=True,
        experts=Experts(where="interval", shared=True, mlp_bias="use_bias", score_bias=True),
        defaults={"moe_num_experts": 64, "moe_k": 6, "moe_num_shared_experts": 2},
        expects={"use_rmsnorm": (True,), "moe_gate": ("topk",), "moe_use_aux_free": (True,)},
        ignored=("moe_capacity", "moe_norm_min", "moe_gate_act", "compression_ratio"),
    ),
    "hunyuan_v1_moe": Sparse(
        **BIASED,
        qk_norm="head",
        experts=Experts(
            size="intermediate_size", same_size="moe_intermediate_size",
            shared_size="intermediate_size",
        ),
        expects={"use_cla": (False,), "use_qk_norm": (True,), "mlp_bias": (False,)},
        ignored=(
            "attention_head_dim", "cla_share_factor", "moe_drop_tokens", "norm_type",
            "moe_random_routing_dropped_token", "class_num", "dense_list",
            "num_media_embeds", "org_vocab_size", "pool_type", "use_rotary_pos_emb",
            "capacity_factor", "group_limited_greedy", "pad_id", "mask_init_id", "im_start_id",
            "im_end_id", "im_newline_id", "text_start_id", "text_end_id", "video_start_id",
            "video_end_id",
        ),
    ),
    "minimax_m2": Sparse(
        head_dim=128,
        num_key_value_heads=8,
        qk_norm="width",
        experts=Experts(size="intermediate_size"),
        zero=("shared_intermediate_size",),
        expects={
            "use_qk_norm": (True,),
            "qk_norm_type": ("per_layer",),
            "sliding_window": (None,),
        },
        ignored=(
            "use_routing_bias", "shared_moe_mode", "num_mtp_modules", "mtp_transformer_layers",
            "mlp_intermediate_size",
            "use_mtp", "layernorm_full_attention_beta", "layernorm_linear_attention_beta",
            "layernorm_mlp_beta",
        ),
    ),
    "aria_text": Sparse(
        **BIASED,
        experts=Experts(size="intermediate_size", shared=True, mlp_bias="mlp_bias"),
        defaults={"moe_num_experts": 8, "moe_topk": 2, "moe_num_shared_experts": 2},
    ),
    "solar_open": Sparse(
        num_key_value_heads=8,
        qkv_bias=("attention_bias", False),
        head_dim=128,
        experts=Experts(shared=True),
        defaults={"n_shared_experts": 1},
        zero=("first_k_dense_replace",),
        expects={"use_qk_norm": (False,)},
    ),
    "mellum": Sparse(
        num_key_value_heads=4,
        **BIASED,
        qk_norm="head",
        head_dim=128,
        slides=none,
        window=1024,
        experts=Experts(listed=True),
        ignored=("mtp_layer_types", "mtp_mlp_layer_types"),
    ),
    "flint": Sparse(
        num_key_value_heads=4,
        **BIASED,
        qk_norm="head",
        head_dim=128,
        attention_extras=sinks,
        slides=flint_slides,
        window=513,
        experts=Experts(where="step", shared_size="shared_expert_intermediate_size"),
        defaults={"mlp_only_layers": [0, 1], "shared_expert_intermediate_size": 1024},
    ),
    "beam": Sparse(
        num_key_value_heads=8,
        **BIASED,
        norms_per_layer=4,
        qk_norm="head",
        head_dim=128,
        attention_extras=biased_gate,
        slides=sixth_and_last_full,
        window=512,
        experts=Experts(where="first", listed=True),
        defaults={"first_k_dense_replace": 3},
        expects={"first_k_dense_replace": (3,)},
    ),
    "muse_spark_text": Sparse(  # two of the norms are gates of the residuals
        num_key_value_heads=16,
        **BIASED,
        norms_per_layer=5,
        head_dim=64,
        attention_extras=gate,
        windows="backward",
        window=2048,
        period=4,
        experts=Experts(listed=True, input_size="moe_hidden_size"),
        ignored=(
            "layer_rope_theta", "output_multiplier", "post_norm_eps", "qk_scale_factor",
            "residual_gate_temperature",
        ),
    ),
    "kolibri1": Sparse(
        norms_per_layer=4,
        qk_norm="head",
        head_dim=128,
        num_key_value_heads=4,
        slides=fifth_full,
        window=513,
        experts=Experts(shared_size="shared_expert_intermediate_size"),
        defaults={"shared_expert_intermediate_size": 512},
    ),
}  # fmt: skip

TRAITS["qwen3_omni_moe_text"] = TRAITS["qwen3_moe"]
TRAITS |= FIRST_DENSE
