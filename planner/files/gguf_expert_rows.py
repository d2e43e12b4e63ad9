"""Architectures of llama.cpp with attention and experts, a row of data each.

As its converters write them (conversion/*.py) and its models read them (src/models/*.cpp), 2026
(commit 0c1e5709).
"""

from planner.files.gguf_architecture import BIASES, LATENT, SHARED_WIDTH, Architecture

EXPERTS_ALONE = {"expert_feed_forward_length": "intermediate_size"}
"""Of model types with no other feed-forward layers than experts."""
NO_DENSE = {"first_k_dense_replace": 0}
"""What llama.cpp takes where a file does not say how many of the first layers are dense."""
SHARED_AS_ROUTED = {"expert_shared_feed_forward_length": None}
"""Of model types that count shared experts, each as wide as a routed one."""
INDEXED = {
    **LATENT,
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.top_k": "index_topk",
}
EXPERTS = {
    "afmoe": Architecture("afmoe", flags=("attention_bias",), period=4),
    "bailingmoe": Architecture(
        "bailing_moe", flags=("use_qkv_bias", "use_qk_norm"), values=NO_DENSE
    ),
    "bailingmoe2": Architecture(
        "bailing_moe_v2",
        SHARED_AS_ROUTED,
        flags=("use_qkv_bias", "use_qk_norm", "moe_router_enable_expert_bias"),
        values=NO_DENSE,
    ),
    "cohere2moe": Architecture(
        "cohere2_moe",
        {
            **EXPERTS_ALONE,
            "feed_forward_length": "prefix_dense_intermediate_size",
            **SHARED_AS_ROUTED,
        },
        period=4,
        first=True,
    ),
    "deepseek": Architecture("deepseek", flags=("attention_bias",), values=NO_DENSE),
    "deepseek2": Architecture("deepseek_v2", LATENT, values=NO_DENSE),
    "deepseek32": Architecture("deepseek_v32", INDEXED),
    "dots1": Architecture("dots1", SHARED_AS_ROUTED, flags=("attention_bias",), values=NO_DENSE),
    "ernie4_5-moe": Architecture(
        "ernie4_5_moe",
        {
            **SHARED_AS_ROUTED,
            "interleave_moe_layer_step": "moe_layer_interval",
            "leading_dense_block_count": "moe_layer_start_index",
        },
        flags=("use_bias",),
    ),
    "exaone-moe": Architecture("exaone_moe", SHARED_AS_ROUTED, values=NO_DENSE, period=4),
    "glm4moe": Architecture(
        "glm4_moe", SHARED_AS_ROUTED, flags=("attention_bias", "use_qk_norm"), values=NO_DENSE
    ),
    "glm-dsa": Architecture("glm_moe_dsa", INDEXED),
    "gpt-oss": Architecture("gpt_oss", EXPERTS_ALONE, flags=("attention_bias",), period=2),
    "granitemoe": Architecture(
        "granitemoe",
        {**EXPERTS_ALONE, "expert_shared_feed_forward_length": "shared_intermediate_size"},
        flags=("attention_bias",),
    ),
    "granite_swa": Architecture(
        "granitemoe_swa",
        {**EXPERTS_ALONE, "expert_shared_feed_forward_length": "shared_intermediate_size"},
        flags=("attention_bias",),
        period=4,
        first=True,
    ),
    "hunyuan-moe": Architecture(
        "hunyuan_v1_moe", {**EXPERTS_ALONE, **SHARED_AS_ROUTED}, flags=("attention_bias",)
    ),
    "hy_v3": Architecture(
        "hy_v3",
        {"expert_shared_feed_forward_length/expert_feed_forward_length": "n_shared_experts"},
        flags=BIASES,
    ),
    "llama4": Architecture(
        "llama4_text",
        {
            **EXPERTS_ALONE,
            "feed_forward_length": "intermediate_size_mlp",
            "expert_count": "num_local_experts",
            "interleave_moe_layer_step": "interleave_moe_layer_step",
        },
        flags=("attention_bias",),
        period=4,
        window=8192,
        chunked=True,
    ),
    "mellum": Architecture("mellum", flags=("attention_bias",), period=4),
    "minimax-m2": Architecture("minimax_m2", EXPERTS_ALONE),
    "mistral4": Architecture("mistral4", LATENT, values=NO_DENSE),
    "olmoe": Architecture("olmoe", EXPERTS_ALONE, flags=("attention_bias",)),
    "phimoe": Architecture("phimoe", EXPERTS_ALONE, flags=("attention_bias",)),
    "qwen2moe": Architecture("qwen2_moe", SHARED_WIDTH),
    "qwen3moe": Architecture("qwen3_moe", flags=("attention_bias",)),
    "qwen3vlmoe": Architecture("qwen3_vl_moe_text", flags=("attention_bias",)),
}
