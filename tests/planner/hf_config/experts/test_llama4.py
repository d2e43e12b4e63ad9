"""Llama 4: which layers attend to chunks."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse


def test_llama_4_as_published_has_rotary_positions_by_interval() -> None:
    """Llama-4-Scout's file says no_rope_layers: [], which its class takes for every fourth."""
    text = {
        "model_type": "llama4_text", "hidden_size": 64, "intermediate_size": 48,
        "intermediate_size_mlp": 96, "num_hidden_layers": 8, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 320, "num_local_experts": 4,
        "num_experts_per_tok": 1, "attention_chunk_size": 8192, "interleave_moe_layer_step": 1,
    }  # fmt: skip
    assert parse({**text, "no_rope_layers": []}).groups == parse(text).groups
    assert parse(text).layer_counts == {"chunked": 6, "full": 2}
    with pytest.raises(ConfigRefused, match="no_rope_layers"):
        parse({**text, "no_rope_layers": [1, 0]})
