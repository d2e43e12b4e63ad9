"""HQQ's configurations, against what hqq 0.2.8's HQQLinear keeps of 96 x 2,048 in bf16."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.formats.quantization import assign
from planner.formats.quantization_config import scheme
from tests.planner.models import LLAMA_8B, model


def params(**weights: Any) -> dict[str, Any]:
    own = {"nbits": 4, "group_size": 64, "axis": 1, "channel_wise": True, **weights}
    return {"weight_quant_params": own, "scale_quant_params": None, "zero_quant_params": None}


def hqq(config: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"quant_method": "hqq", "quant_config": config, "skip_modules": ["lm_head"], **rest}


@pytest.mark.parametrize(
    ("weights", "size"),
    [
        ({"nbits": 8}, 208_896),
        ({"nbits": 4}, 110_592),
        ({"nbits": 4, "axis": 0}, 110_592),
        ({"nbits": 3}, 91_136),
        ({"nbits": 3, "axis": 0}, 98_304),
        ({"nbits": 2}, 61_440),
        ({"nbits": 1}, 36_864),
        ({"nbits": 4, "group_size": None}, 98_688),
    ],
)
def test_what_hqq_itself_keeps(weights: dict[str, Any], size: int) -> None:
    found = scheme(hqq(params(**weights))).linear
    assert found is not None
    assert found.bytes((96, 2048)) == size


def test_kinds_of_matrices() -> None:
    """As HqqConfig's dynamic_config is saved: by what a linear layer is called in its layer."""
    config = hqq({"self_attn.q_proj": params(nbits=8), "mlp.up_proj": params(nbits=2)})
    found = assign(model(LLAMA_8B, quantization_config=config), "auto")
    names = {weight.name: fmt.name for weight, fmt in found.layers[0].weights}
    assert (names["q_proj"], names["up_proj"]) == ("hqq8_g64", "hqq2_g64")
    assert names["k_proj"] == names["down_proj"] == "bf16"


def test_the_head_stays_where_it_is_skipped_or_nothing_is_said() -> None:
    """transformers 5.24's integrations/hqq takes the skipped names from those of linear layers."""

    def head(config: dict[str, Any]) -> str:
        found = assign(model(LLAMA_8B, quantization_config=config), "auto")
        return next(fmt.name for weight, fmt in found.outside if weight.name == "lm_head")

    said = hqq(params())
    assert head(said) == "bf16"
    assert head(said | {"skip_modules": None}) == "bf16"
    assert head(said | {"skip_modules": []}) == "hqq4_g64"
    kinds = hqq({"lm_head": params(nbits=8), "mlp.up_proj": params()}, skip_modules=[])
    assert head(kinds) == "hqq8_g64"


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"quant_method": "hqq"}, "quant_config"),
        (hqq({"weight_quant_params": None}), "quant_config.weight_quant_params"),
        (hqq({"scale_quant_params": None}), "quant_config"),
        (hqq(params(group_size=12)), "quant_config.weight_quant_params.group_size"),
        (hqq(params(nbits=5)), "quant_config.weight_quant_params.nbits"),
        (hqq(params(group_size=None, axis=0)), "quant_config.weight_quant_params.group_size"),
        (hqq(params() | {"zero_quant_params": {"nbits": 8}}), "quant_config.zero_quant_params"),
        (hqq({"mlp.up_proj": {"nbits": 4}}), "quant_config.mlp.up_proj.weight_quant_params"),
    ],
)
def test_what_does_not_settle_the_bytes_is_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        scheme(config)
    assert refused.value.field == f"quantization_config.{field}"
