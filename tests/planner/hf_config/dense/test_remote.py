"""LLaMA derivatives whose code is published beside their weights."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import cache_bytes

SPARK: dict[str, Any] = {
    "model_type": "spark2_5", "hidden_size": 2560, "intermediate_size": 10240,
    "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256,
    "vocab_size": 131072, "sliding_window": 512, "attention_bias": False, "mlp_bias": False,
    "layer_types": (["sliding_attention"] * 3 + ["full_attention"]) * 9,
    "headwise_attn_output_gate": True, "gate_attn_act_mode": "sigmoid", "hidden_act": "gelu",
    "tie_word_embeddings": True, "dtype": "bfloat16",
}  # fmt: skip
SMALL_LLAMA = {
    "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 3, "head_dim": 128,
    "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 1000, "mlp_bias": True,
    "attention_bias": True, "tie_word_embeddings": False,
}  # fmt: skip


def test_spark_has_the_parameters_of_its_files() -> None:
    """4,112,079,360 by the publisher's index (XHToken/Spark-X2.5-4B); the others, mlx_lm 0.32.2."""
    model = parse(SPARK)
    assert count(model).total == 4_112_079_360
    assert cache_bytes(model, 1000) == (9 * 1000 + 27 * 512) * 2 * 4 * 256 * 2
    by_rule = {name: value for name, value in SPARK.items() if name != "layer_types"}
    assert parse(by_rule).groups == model.groups
    biased = {**SPARK, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}
    assert count(parse(biased)).total == 4_448_767_040
    with pytest.raises(ConfigRefused, match="headwise_attn_output_gate"):
        parse({**SPARK, "headwise_attn_output_gate": False})


@pytest.mark.parametrize("model_type", ["telechat3", "nanbeige"])
def test_counted_with_mlx_lm(model_type: str) -> None:
    config = {**SMALL_LLAMA, "model_type": model_type}
    assert count(parse(config)).total == 9_692_160
    plain = {"mlp_bias": False, "attention_bias": False, "tie_word_embeddings": True}
    assert count(parse({**config, **plain})).total == 9_166_336


@pytest.mark.parametrize(
    ("field", "value"),
    [("num_loops", 2), ("loop_loss_weights", [0.5]), ("loop_share_kv", True)],
)
def test_nanbeige_that_runs_its_layers_twice_is_refused(field: str, value: Any) -> None:
    """Each loop has a cache of its own."""
    with pytest.raises(ConfigRefused, match=field):
        parse({**SMALL_LLAMA, "model_type": "nanbeige", field: value})


PLAMO3 = {
    "model_type": "plamo3", "hidden_size": 4096, "num_hidden_layers": 32, "head_dim": 128,
    "num_attention_heads": 32, "num_key_value_heads": 4, "window_size": 2048,
    "sliding_window_pattern": 8, "rope_local_theta": 10000, "intermediate_size": 13312,
    "vocab_size": 107520, "image_feature_size": None, "image_proj_type": "linear",
    "linear_type": "normal", "tie_word_embeddings": False,
}  # fmt: skip


def test_plamo3_keeps_every_eighth_layer_whole() -> None:
    """Elements and caches of mlx_lm 0.32.2's Model of these fields."""
    assert count(parse(PLAMO3)).total == 7_323_791_360
    changes = {"tie_word_embeddings": True, "num_hidden_layers": 20, "head_dim": 64}
    small = parse({**PLAMO3, **changes})
    assert count(small).total == 4_089_780_736
    assert [g.layers for g in small.groups if g.kind == "full"] == [(7, 15)]
    assert cache_bytes(small, 4096) == (2 * 4096 + 18 * 2048) * 2 * 4 * 64 * 2
    with pytest.raises(ConfigRefused, match="linear_type"):
        parse({**PLAMO3, "linear_type": "fp8"})
