"""What a text model's class assumes for fields that a nested configuration leaves out.

Files that hold a text model inside another (`text_config`) are saved without the fields that equal
the class's own values, so these stand in for them. Top-level files always state them.
Source: class attributes of each configuration in Hugging Face transformers 5.23.
"""

from typing import Any


def sizes(
    vocab_size: int,
    hidden_size: int,
    intermediate_size: int,
    num_hidden_layers: int,
    num_attention_heads: int,
    **others: int,
) -> dict[str, Any]:
    """One row. KV heads, head size and window have their defaults where families are read."""
    return {
        "vocab_size": vocab_size,
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": num_hidden_layers,
        "num_attention_heads": num_attention_heads,
        **others,
    }


def class_defaults(model_type: str, wrapper: str) -> dict[str, Any]:
    """What a text model of this type has where its object in a file of type `wrapper` is silent."""
    return {**CLASS_DEFAULTS.get(model_type, {}), **WRAPPER_DEFAULTS.get(wrapper, {})}


WRAPPER_DEFAULTS: dict[str, dict[str, Any]] = {
    "glmasr": sizes(59264, 2048, 6144, 28, 16, num_key_value_heads=4),
    "voxtral": sizes(131072, 3072, 8192, 30, 32, num_key_value_heads=8, head_dim=128),
}
"""Values that a wrapper's class puts before those of the text model's class."""

CLASS_DEFAULTS: dict[str, dict[str, Any]] = {
    "cohere": sizes(256000, 8192, 22528, 40, 64),
    "cohere2": sizes(256000, 8192, 22528, 40, 64),
    "exaone4": sizes(102400, 4096, 16384, 32, 32),
    "gemma": sizes(256000, 3072, 24576, 28, 16),
    "gemma2": sizes(256000, 2304, 9216, 26, 8),
    "gemma3_text": sizes(262208, 2304, 9216, 26, 8),
    "gemma3n_text": sizes(262400, 2048, 16384, 35, 8),
    "gemma4_text": sizes(262144, 2304, 9216, 30, 8),
    "glm4v_text": sizes(151552, 4096, 13696, 40, 32),
    "granite": sizes(32000, 4096, 11008, 32, 32),
    "hunyuan_vl_text": {"tie_word_embeddings": True},
    "hyperclovax": sizes(32000, 4096, 11008, 32, 32),
    "llama": sizes(32000, 4096, 11008, 32, 32),
    "ministral3": sizes(131072, 4096, 14336, 34, 32),
    "mistral": sizes(32000, 4096, 14336, 32, 32),
    "mixtral": sizes(32000, 4096, 14336, 32, 32),
    "olmo2": sizes(50304, 4096, 11008, 32, 32),
    "opt": {
        "vocab_size": 50272, "hidden_size": 768, "ffn_dim": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12,
    },
    "persimmon": sizes(262144, 4096, 16384, 36, 64),
    "phi": sizes(51200, 2048, 8192, 24, 32),
    "phi3": sizes(32064, 3072, 8192, 32, 32),
    "qwen2": sizes(151936, 4096, 22016, 32, 32),
    "qwen2_vl_text": sizes(152064, 8192, 29568, 80, 64),
    "qwen2_5_vl_text": sizes(152064, 8192, 29568, 80, 64),
    "qwen3": sizes(151936, 4096, 22016, 32, 32),
    "qwen3_vl_text": sizes(151936, 4096, 22016, 32, 32),
    "smollm3": sizes(128256, 2048, 11008, 36, 16),
    "molmo2_text": sizes(151936, 4096, 12288, 36, 32),
    "qwen2_5_omni_text": sizes(152064, 3584, 18944, 28, 28),
    "voxtral_realtime_text": sizes(32000, 4096, 14336, 32, 32),
    "stablelm": sizes(50304, 2560, 6912, 32, 32),
}  # fmt: skip
