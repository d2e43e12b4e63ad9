"""Decoders without attention."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse


def test_xlstm_widths_that_its_states_would_round_up_are_refused() -> None:
    config = {"model_type": "xlstm", "num_hidden_layers": 2, "num_heads": 4, "vocab_size": 320}
    with pytest.raises(ConfigRefused, match=r"qk_dim_factor.* 32"):
        parse({**config, "hidden_size": 64})
