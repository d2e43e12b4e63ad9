"""DBRX and Doge: experts under names of their own, or of one row each."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import SMALL


def test_dbrx_has_its_heads_in_one_place_or_twice_the_same() -> None:
    """transformers saves the nested number of KV heads a second time."""
    config = {
        "model_type": "dbrx", "d_model": 64, "n_heads": 4, "n_layers": 3, "vocab_size": 320,
        "attn_config": {"kv_n_heads": 2}, "ffn_config": {"ffn_hidden_size": 48},
    }  # fmt: skip
    assert parse({**config, "num_key_value_heads": 2}).groups == parse(config).groups
    with pytest.raises(ConfigRefused, match="num_key_value_heads"):
        parse({**config, "num_key_value_heads": 4})


def test_doges_experts_are_rows_of_two_tables() -> None:
    """transformers 5.24 makes 245,900 of this, 227,468 without experts; each token reads 3 rows of
    20 in both tables of every layer."""
    doge = {
        "model_type": "doge", **SMALL, "is_moe": True, "num_experts": 20, "num_experts_per_tok": 3,
    }  # fmt: skip
    del doge["head_dim"]
    found = count(parse(doge))
    assert found.total == 245_900
    assert found.active == 245_900 - 6 * 2 * (20 - 3) * 64
    assert count(parse({**doge, "is_moe": False})).total == 227_468
