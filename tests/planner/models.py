"""Models that tests share: well-known configurations written out, and presets."""

from typing import Any

from planner.hf_config import parse
from planner.model import Model
from presets.models import load_model_config

SMALL: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 6, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 320,
}  # fmt: skip

LLAMA_8B: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}

GEMMA_3_27B: dict[str, Any] = {
    "model_type": "gemma3_text",
    "hidden_size": 5376,
    "intermediate_size": 21504,
    "num_hidden_layers": 62,
    "num_attention_heads": 32,
    "num_key_value_heads": 16,
    "head_dim": 128,
    "sliding_window": 1024,
    "sliding_window_pattern": 6,
    "vocab_size": 262208,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}

DEEPSEEK_V3: dict[str, Any] = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "num_hidden_layers": 61,
    "first_k_dense_replace": 3,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "vocab_size": 129280,
    "max_position_embeddings": 163840,
    "torch_dtype": "bfloat16",
}

JAMBA: dict[str, Any] = {
    "model_type": "jamba",
    "vocab_size": 65536,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "num_experts": 16,
    "num_experts_per_tok": 2,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "attn_layer_period": 8,
    "attn_layer_offset": 4,
    "mamba_d_state": 16,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_dt_rank": 256,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
    "tie_word_embeddings": False,
}


def model(config: dict[str, Any], **changes: Any) -> Model:
    """The parsed configuration with some fields changed."""
    return parse({**config, **changes})


def text(hidden_size: int, **others: Any) -> dict[str, Any]:
    """A small decoder of this width."""
    return {
        "model_type": "llama", "hidden_size": hidden_size, "intermediate_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 8, "vocab_size": 320, **others,
    }  # fmt: skip


def preset(name: str) -> Model:
    """A preset, by its id."""
    return parse(load_model_config(name), name)


def cache_bytes(model: Model, tokens: int) -> int:
    """Bytes of one sequence's cache in bf16, straight from the tensors."""
    return sum(
        2 * group.count * tensor.heads * tensor.width * tensor.entries(tokens)
        for group in model.groups
        for tensor in group.cache()
    )
