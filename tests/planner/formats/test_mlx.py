"""MLX's configurations, against what mlx 0.32.4's `nn.quantize` keeps of 96 x 2,048 in bf16."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.formats.quantization import assign
from planner.formats.quantization_config import scheme
from planner.hf_config import parse
from planner.weights import weights_bytes
from presets.models import load_model_config
from tests.planner.models import LLAMA_8B, model

FOUR = {"group_size": 64, "bits": 4}


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (FOUR, 110_592),
        ({"group_size": 64, "bits": 3}, 86_016),
        ({"group_size": 32, "bits": 6, "mode": "affine"}, 172_032),
        ({"group_size": 128, "bits": 8}, 202_752),
        ({"group_size": 32, "bits": 4, "mode": "mxfp4"}, 104_448),
        ({"group_size": 16, "bits": 4, "mode": "nvfp4"}, 110_592),
        ({"group_size": 32, "bits": 8, "mode": "mxfp8"}, 202_752),
    ],
)
def test_what_mlx_itself_keeps(config: dict[str, Any], size: int) -> None:
    found = scheme(config)
    assert found.linear is not None
    assert found.linear == found.expert == found.table
    assert found.linear.bytes((96, 2048)) == size


def test_published_checkpoint() -> None:
    """4.52 GB, as huggingface_hub shows it of Llama-3-8B-Instruct in 4 bits: mlx-examples#754."""
    for repeated in ({}, {"quantization": FOUR}):
        config = load_model_config("meta-llama-3-8b") | {"quantization_config": FOUR} | repeated
        size = weights_bytes(assign(parse(config), "auto")).total
        assert size == (8_030_261_248 - 65 * 4096) * 9 // 16 + 65 * 4096 * 2
        assert f"{size / 1e9:.2f}" == "4.52"
    config = load_model_config("meta-llama-3-8b") | {"quantization": FOUR}
    assert weights_bytes(assign(parse(config), "auto")).total == size


def test_modules_of_their_own() -> None:
    config = FOUR | {
        "model.layers.0.mlp.down_proj": {"bits": 6},
        "model.layers.1.self_attn.q_proj": False,
        "model.embed_tokens": {"bits": 8, "group_size": 32},
        "lm_head": False,
    }
    found = assign(model(LLAMA_8B, quantization_config=config), "auto")
    by_layer = {
        layer: {w.name: fmt.name for w, fmt in part.weights}
        for part in found.layers for layer in part.layers
    }  # fmt: skip
    assert by_layer[0]["down_proj"] == "mlx6_g64"
    assert by_layer[1]["down_proj"] == by_layer[0]["q_proj"] == "mlx4_g64"
    assert by_layer[1]["q_proj"] == "bf16"
    ends = {weight.name: fmt.name for weight, fmt in found.outside}
    assert (ends["embed_tokens"], ends["lm_head"]) == ("mlx8_g32", "bf16")


def test_a_module_s_own_object_stands_for_itself() -> None:
    """mlx hands it to the module's to_quantized, whose groups are of 64 and whose bits are 4."""
    config = {"group_size": 32, "bits": 8, "lm_head": {"bits": 6}, "model.embed_tokens": {}}
    found = scheme(config)
    assert found.linear is not None
    assert found.linear.name == "mlx8_g32"
    names = {name: fmt and fmt.name for name, fmt in found.named.items()}
    assert names == {"lm_head": "mlx6_g64", "embed_tokens": "mlx4_g64"}


def test_routers_must_be_named() -> None:
    """As mlx-lm names those of Qwen3's experts; others are left to the model's code."""
    config = load_model_config("qwen3-30b-a3b")
    with pytest.raises(ConfigRefused, match="router"):
        assign(parse(config | {"quantization_config": FOUR}), "auto")
    gates = {f"model.layers.{i}.mlp.gate": {"group_size": 64, "bits": 8} for i in range(48)}
    down = {"model.layers.0.mlp.switch_mlp.down_proj": {"group_size": 64, "bits": 6}}
    found = assign(parse(config | {"quantization_config": FOUR | gates | down}), "auto")
    sizes = found.bytes_by_format()
    assert sizes["mlx8_g64"] == 48 * 128 * 2048 * 17 // 16
    assert sizes["mlx6_g64"] == 128 * 2048 * 768 * 13 // 16


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (FOUR | {"desc_act": False}, "quantization_config.quant_method"),
        (FOUR | {"mode": "mxfp4"}, "quantization_config.mode"),
        (FOUR | {"bits": 7}, "quantization_config.bits"),
        (FOUR | {"group_size": 256}, "quantization_config.group_size"),
        (FOUR | {"lm_head": {"width": 6}}, "quantization_config.lm_head.width"),
        (FOUR | {"lm_head": {"global_scale": True}}, "quantization_config.lm_head.global_scale"),
        (FOUR | {"lm_head": 3}, "quantization_config.lm_head"),
    ],
)
def test_what_does_not_settle_the_bytes_is_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        scheme(config)
    assert refused.value.field == field
