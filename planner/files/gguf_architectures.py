"""Which model type an architecture of llama.cpp is, and which field each of its keys.

As llama.cpp's converters write them (conversion/*.py) and its models read them (src/models/*.cpp),
2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass

FIELDS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "context_length": "max_position_embeddings",
    "rope.freq_base": "rope_theta",
}
"""Keys after the architecture's name that are one field of every model type."""
THETAS = ("rope.freq_base", "rope.freq_base_swa")
"""Keys whose numbers need not be whole."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """model_type, and the fields of further keys.

    period: with a window, all layers but the last of each period slide, unless the file says
    otherwise; 0 where no layer does. window: what llama.cpp takes where the file names none.
    """

    model_type: str
    fields: Mapping[str, str] | None = None
    period: int = 0
    window: int | None = None


EXPERTS = {
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
}
LATENT = {
    "expert_count": "n_routed_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "leading_dense_block_count": "first_k_dense_replace",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.key_length_mla": "qk_head_dim",
    "attention.value_length_mla": "v_head_dim",
}
MIXTRAL = {"expert_count": "num_local_experts", "expert_used_count": "num_experts_per_tok"}
ARCHITECTURES = {
    "llama": Architecture("llama", MIXTRAL),
    "gemma": Architecture("gemma"),
    "gemma2": Architecture("gemma2", period=2, window=4096),
    "gemma3": Architecture("gemma3_text", {"rope.freq_base_swa": "rope_local_base_freq"}, period=6),
    "olmo2": Architecture("olmo2", period=4),
    "phi3": Architecture("phi3"),
    "qwen2": Architecture("qwen2"),
    "qwen2moe": Architecture(
        "qwen2_moe",
        {**EXPERTS, "expert_shared_feed_forward_length": "shared_expert_intermediate_size"},
    ),
    "qwen3": Architecture("qwen3"),
    "qwen3moe": Architecture("qwen3_moe", EXPERTS),
    "smollm3": Architecture("smollm3"),
    "deepseek2": Architecture("deepseek_v2", LATENT),
    "gpt-oss": Architecture(
        "gpt_oss",
        {
            "expert_count": "num_local_experts",
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "intermediate_size",
        },
        period=2,
    ),
}
