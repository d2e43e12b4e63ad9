"""Configurations as transformers saves them, which names more fields than publishers do.

The default of every class that Sizewell reads, sized against counts made by make_counted.py.
"""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.hf_config.counts import cache, cases, parameters

CASES = [pytest.param(case, id=case["config"]["model_type"]) for case in cases("saved")]


# Indexers' keys lie outside the cache of transformers; of gpt_neo it keeps local layers whole.
OTHER_CACHE = ("deepseek_v32", "deepseek_v4", "glm_moe_dsa", "gpt_neo")


@pytest.mark.parametrize("case", CASES)
def test_a_saved_default_is_sized_as_its_class(case: dict[str, Any]) -> None:
    model = parse(case["config"])
    assert parameters(model) == case["parameters"]
    if model.model_type not in OTHER_CACHE:
        assert cache(model, case) == case["kv_cache_bytes"]


def test_fields_beside_the_text_model_that_size_nothing() -> None:
    """aya-vision-8b as published: its adapter's epsilon stands beside the text model."""
    text = {
        "model_type": "cohere2", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 320,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    }  # fmt: skip
    beside = {"adapter_layer_norm_eps": 1e-06, "downsample_factor": 2, "vision_feature_layer": -1}
    wrapped = parse({"model_type": "aya_vision", "text_config": text, **beside})
    assert count(wrapped).total == count(parse(text)).total
    with pytest.raises(ConfigRefused, match="adapter_layers"):
        parse({"model_type": "aya_vision", "text_config": text, "adapter_layers": 2})


def test_prefixes_seen_both_ways_cost_no_memory_and_an_encoder_is_refused() -> None:
    text = {
        "model_type": "gemma", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 320,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16,
    }  # fmt: skip
    seen = {**text, "use_bidirectional_attention": True}
    wrapped = parse({"model_type": "paligemma", "text_config": seen})
    assert wrapped.groups == parse(text).groups
    with pytest.raises(ConfigRefused, match="use_bidirectional_attention"):
        parse(seen)
