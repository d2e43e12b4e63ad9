"""Decoders without attention."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count


def test_xlstm_widths_that_its_states_would_round_up_are_refused() -> None:
    config = {"model_type": "xlstm", "num_hidden_layers": 2, "num_heads": 4, "vocab_size": 320}
    with pytest.raises(ConfigRefused, match=r"qk_dim_factor.* 32"):
        parse({**config, "hidden_size": 64})


RWKV7 = {
    "model_type": "rwkv7", "hidden_size": 2560, "num_hidden_layers": 32, "head_dim": 64,
    "a_low_rank_dim": 96, "decay_low_rank_dim": 96, "gate_low_rank_dim": 320, "v_low_rank_dim": 64,
    "hidden_act": "sqrelu", "hidden_ratio": 4.0, "intermediate_size": 10240, "vocab_size": 65536,
    "norm_bias": True, "norm_first": True, "attn": None, "attn_mode": "chunk", "dtype": "bfloat16",
    "fuse_norm": True, "fuse_cross_entropy": True, "tie_word_embeddings": False,
}  # fmt: skip
SMALL_RWKV7 = {
    **RWKV7, "hidden_size": 768, "num_hidden_layers": 3, "intermediate_size": None,
    "a_low_rank_dim": 64, "decay_low_rank_dim": 64, "gate_low_rank_dim": 128, "v_low_rank_dim": 32,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (RWKV7, 2_947_735_040),
        (SMALL_RWKV7, 123_220_992),
        ({**SMALL_RWKV7, "norm_bias": False}, 123_214_848),
        ({**SMALL_RWKV7, "norm_first": False, "tie_word_embeddings": True}, 72_887_808),
    ],
)
def test_rwkv7_as_flash_linear_attention_builds_it(config: dict[str, Any], parameters: int) -> None:
    """fla 0.6.0's RWKV7ForCausalLM on the meta device."""
    assert count(parse(config)).total == parameters


def test_rwkv7_keeps_two_inputs_and_a_matrix_per_head() -> None:
    states = [s for group in parse(RWKV7).groups for s in group.state()]
    assert [(s.name, s.elements, s.dtype) for s in states[:2]] == [
        ("shifted", 2 * 2560, "model"), ("recurrent", 40 * 64 * 64, "float32"),
    ]  # fmt: skip
    assert not any(group.cache() for group in parse(RWKV7).groups)


@pytest.mark.parametrize(
    ("field", "value"), [("attn", {"layers": [3]}), ("value_dim", 5120), ("head_dim", 100)]
)
def test_rwkv7_of_other_layers_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigRefused, match=field):
        parse({**RWKV7, field: value})
