"""Families whose first layers are dense, in the spelling of published files."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count

K_EXAONE = {
    "model_type": "exaone_moe", "first_last_k_dense_replace": 1, "head_dim": 128,
    "hidden_size": 6144, "intermediate_size": 18432, "is_moe_layer": [False] + [True] * 47,
    "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 12,
    "moe_intermediate_size": 2048, "num_attention_heads": 64, "num_experts": 128,
    "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 8,
    "num_shared_experts": 1, "scoring_func": "sigmoid", "sliding_window": 128,
    "sliding_window_pattern": "LLLG", "tie_word_embeddings": False, "vocab_size": 153600,
}  # fmt: skip


def test_k_exaone_marks_its_layers_with_experts() -> None:
    """ExaoneMoeForCausalLM of transformers 5.24, on the meta device."""
    assert count(parse(K_EXAONE)).total == 236_571_150_336


@pytest.mark.parametrize(
    "changed", [{"is_moe_layer": [True] * 48}, {"first_last_k_dense_replace": 2}]
)
def test_other_places_of_the_experts_are_refused(changed: dict[str, object]) -> None:
    with pytest.raises(ConfigRefused, match=next(iter(changed))):
        parse({**K_EXAONE, **changed})
