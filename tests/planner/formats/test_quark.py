"""AMD Quark's configurations, by hand: Llama-3.1-8B's matrices have 6,979,321,856 entries."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.formats.quantization import assign
from planner.weights import weights_bytes
from tests.planner.models import LLAMA_8B, model

LINEAR = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336)
TABLES = 2 * 128256 * 4096 * 2
NORMS = 65 * 4096 * 2
MATRICES = 32 * 7

FP8 = {"dtype": "fp8_e4m3", "qscheme": "per_tensor", "is_dynamic": False}
FP4 = {"dtype": "fp4", "qscheme": "per_group", "group_size": 32, "scale_format": "e8m0"}


def stored(**quark: Any) -> int:
    config = {"quant_method": "quark", "exclude": ["lm_head"], "layer_quant_config": {}, **quark}
    return weights_bytes(assign(model(LLAMA_8B, quantization_config=config), "auto")).total


def test_fp8_per_tensor_with_calibrated_inputs() -> None:
    """As of Llama-3.1-8B-Instruct-FP8-KV: a byte an entry, 4 B of scale for weight and input."""
    cached = {"weight": FP8, "input_tensors": FP8, "output_tensors": FP8}
    found = stored(
        global_quant_config={"weight": FP8, "input_tensors": FP8, "bias": None},
        layer_quant_config={"*k_proj": cached, "*v_proj": cached},
        export={"kv_cache_group": ["*k_proj", "*v_proj"], "weight_format": "real_quantized"},
    )
    assert found - LINEAR - TABLES - NORMS == MATRICES * (4 + 4)


def test_mxfp4_for_all_but_what_is_named() -> None:
    """Half a byte and a scale per 32; attention in fp8 with a scale for each output."""
    attention = 2 * 4096 * 4096 + 2 * 1024 * 4096
    outputs = 4096 + 1024 + 1024 + 4096
    found = stored(
        global_quant_config={"weight": FP4, "input_tensors": {**FP4, "is_dynamic": True}},
        layer_quant_config={"*self_attn*": {"weight": {**FP8, "qscheme": "per_channel"}}},
    )
    feed_forward = LINEAR // 32 - attention
    layer = feed_forward // 2 + feed_forward // 32 + attention + 4 * outputs
    assert found == 32 * layer + TABLES + NORMS


def test_what_is_left_alone_is_in_16_bits() -> None:
    plain = stored(global_quant_config={"weight": None})
    assert plain == 2 * LINEAR + TABLES + NORMS
    assert plain == stored(global_quant_config={"weight": FP8}, exclude=["*"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"global_quant_config": {"weight": {**FP8, "dtype": "uint4"}}}, "'uint4'"),
        ({"global_quant_config": {"weight": [FP8, FP4]}}, "global_quant_config.weight"),
        ({}, "global_quant_config is missing"),
        ({"global_quant_config": {}, "layer_type_quant_config": {"Linear": {}}}, "layer_type"),
    ],
)
def test_what_does_not_settle_the_bytes_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigRefused, match=said):
        stored(**change)
