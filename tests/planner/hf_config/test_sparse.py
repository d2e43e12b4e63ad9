"""Families with experts, latent attention, recurrences and shared caches, against transformers.

counted_sparse.json was made by make_counted_sparse.py from the reference implementations.
"""

import copy
from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.model import Model
from planner.parameters import count
from planner.tensors import Weight
from tests.planner.hf_config.counts import cache, cases, parameters

COUNTED = cases("sparse")
CASES = [
    pytest.param(case, id=f"{case['config']['model_type']}-{index}")
    for index, case in enumerate(COUNTED)
]
MEASURED = [param for param in CASES if "kv_cache_bytes" in param.values[0]]


def state_bytes(model: Model) -> int:
    sizes = {"model": 2, "float32": 4}
    return sum(g.count * t.elements * sizes[t.dtype] for g in model.groups for t in g.state())


@pytest.mark.parametrize("case", CASES)
def test_parameters_are_those_of_the_reference(case: dict[str, Any]) -> None:
    assert parameters(parse(case["config"])) == case["parameters"]


@pytest.mark.parametrize("case", MEASURED)
def test_cache_and_state_are_what_a_run_leaves_behind(case: dict[str, Any]) -> None:
    model = parse(case["config"])
    assert cache(model, case) == case["kv_cache_bytes"]
    assert state_bytes(model) == case["state_bytes"]


@pytest.mark.parametrize("case", CASES)
def test_a_field_left_out_has_the_value_of_its_class_or_is_missed(case: dict[str, Any]) -> None:
    differing = {}
    for name, expected in case["without"].items():
        config = {key: value for key, value in case["config"].items() if key != name}
        try:
            found = count(parse(config))
        except ConfigRefused:
            continue
        if [found.total, found.active] != expected:
            differing[name] = (found.total, found.active, expected)
    assert not differing


@pytest.mark.parametrize("case", CASES)
def test_a_field_nobody_knows_is_refused_by_name(case: dict[str, Any]) -> None:
    config = {**case["config"], "extra_memory_tokens": 17}
    with pytest.raises(ConfigRefused, match="extra_memory_tokens"):
        parse(config)


@pytest.mark.parametrize("case", CASES)
def test_bad_values_are_refused_and_never_crash(case: dict[str, Any]) -> None:
    """Any one field with a value that makes no sense: a Model, or a sentence that names a field."""
    unnamed = []
    for name in case["config"]:
        for value in (-3, "many", [1, "x"], {"a": 1}, 2**40, 10**9, 0, True, 1.5):
            config = copy.deepcopy(case["config"])
            config[name] = value
            try:
                count(parse(config))
            except ConfigRefused as refused:
                unnamed += [] if refused.field else [(name, value)]
    assert not unnamed


@pytest.mark.parametrize("case", CASES)
def test_every_weight_can_be_split_as_it_says(case: dict[str, Any]) -> None:
    model = parse(case["config"])
    weights: list[Weight] = list(model.outside())
    for group in model.groups:
        weights += group.weights(model.hidden_size)
    for weight in weights:
        assert min(weight.shape, default=0) > 0, weight.name
        assert weight.split != "kv" or weight.shape[0] % weight.kv_heads == 0, weight.name
        assert weight.split != "row" or len(weight.shape) > 1, weight.name


REFUSED = [
    ({"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}, "hybrid_override_pattern"),
    ({"model_type": "deepseek_v4", "compress_ratios": [0, 4, 7, 4, 128, 0]}, "compress_ratios"),
    ({"model_type": "deepseek_v4", "compress_ratios": [0, 4, [4], 4, 128, 0]}, "compress_ratios"),
    ({"model_type": "zamba2", "num_mem_blocks": 2, "num_hidden_layers": 7}, "layers_block_type"),
    ({"model_type": "mixtral", "num_experts": 4, "num_experts_per_tok": 5}, "num_experts_per_tok"),
    ({"model_type": "qwen3_moe", "num_local_experts": 4, "num_experts": 8}, "num_local_experts"),
    ({"model_type": "gemma4_text", "use_bidirectional_attention": "all"}, "bidirectional"),
    ({"model_type": "lfm2_moe", "layer_types": None}, "layer_types"),
    ({"model_type": "mimo_v2_flash", "swa_num_key_value_heads": 3}, "swa_num_key_value_heads"),
    ({"model_type": "hunyuan_v1_moe", "use_cla": True}, "use_cla"),
    ({"model_type": "xlnet"}, "model_type"),
]


@pytest.mark.parametrize(("change", "named"), REFUSED, ids=[named for _, named in REFUSED])
def test_what_the_fields_do_not_settle_is_refused(change: dict[str, Any], named: str) -> None:
    same = [c["config"] for c in COUNTED if c["config"]["model_type"] == change["model_type"]]
    with pytest.raises(ConfigRefused, match=named):
        parse({**(same[0] if same else {}), **change})
