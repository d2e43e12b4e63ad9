"""Which model type an architecture of llama.cpp is, and which field each of its keys.

As llama.cpp's converters write them (conversion/*.py) and its models read them (src/models/*.cpp),
2026 (commit 0c1e5709).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FIELDS = {
    "block_count": "num_hidden_layers",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "context_length": "max_position_embeddings",
    "rope.freq_base": "rope_theta",
    "expert_count": "num_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "leading_dense_block_count": "first_k_dense_replace",
    "nextn_predict_layers": "num_nextn_predict_layers",
}
"""Keys after the architecture's name that are one field of most model types."""
FLAGS = {
    "attention_bias": ("attn_q.bias", "attn_qkv.bias"),
    "attention_out_bias": ("attn_output.bias",),
    "bias": ("attn_output.bias",),
    "mamba_conv_bias": ("ssm_conv1d.bias",),
    "mamba_rms_norm": ("ssm_norm.weight",),
    "mlp_bias": ("ffn_up.bias",),
    "moe_router_enable_expert_bias": ("exp_probs_b.bias",),
    "qk_layernorm": ("attn_q_norm.weight",),
    "use_bias": ("attn_output.bias",),
    "use_conv_bias": ("ssm_conv1d.bias",),
    "use_qk_norm": ("attn_q_norm.weight",),
    "use_qkv_bias": ("attn_q.bias", "attn_qkv.bias"),
}
"""Fields that say whether layers have one of these tensors."""
THETAS = ("rope.freq_base", "rope.freq_base_swa")
"""Keys whose numbers need not be whole."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture.

    fields: of further keys, or of keys that are another field than usual; "a/b" is a quotient, None
    a key that is no field. flags: those of FLAGS that the model type has. values: what it
    always says. kinds: what a layer that has a tensor is called, the first that fits.

    period: with a window, all layers but the last of each period slide (but the first, with
    `first`), unless the file says otherwise; 0 where no layer does. window: what llama.cpp takes
    where the file names none. chunked: windows jump, and are all of that length.
    """

    model_type: str
    fields: Mapping[str, str | None] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    kinds_field: str = "layer_types"
    period: int = 0
    first: bool = False
    window: int | None = None
    chunked: bool = False


BIASES = ("attention_bias", "mlp_bias")
"""Flags of model types that may have biases everywhere."""
LATENT: dict[str, str | None] = {
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.key_length_mla": "qk_head_dim",
    "attention.value_length_mla": "v_head_dim",
    "expert_shared_feed_forward_length": None,
}
SHARED_WIDTH = {"expert_shared_feed_forward_length": "shared_expert_intermediate_size"}
