"""EETQ, BitNet, FP-Quant and SpQR against their modules of 2,048 inputs and 96 outputs in bf16."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.formats.quantization import assign
from planner.formats.quantization_config import scheme
from planner.weights import weights_bytes
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model

SHAPE = (96, 2048)
LINEAR = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
TABLES = 2 * 128256 * 4096 * 2
NORMS = 65 * 4096 * 2
AUTO = {"linear_class": "autobitlinear"}


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"quant_method": "eetq", "weights": "int8"}, 196_800),
        ({"quant_method": "bitnet"}, 49_154),
        ({"quant_method": "bitnet", **AUTO, "quantization_mode": "offline"}, 393_218),
        ({"quant_method": "bitnet", **AUTO, "quantization_mode": "online"}, 393_216),
        ({"quant_method": "bitnet", "use_rms_norm": True}, 49_154 + 2048 * 2),
    ],
)
def test_modules_of_transformers(config: dict[str, Any], size: int) -> None:
    """Parameters and buffers of EetqLinear, BitLinear and AutoBitLinear, transformers 5.24."""
    found = scheme(config).linear
    assert found is not None
    assert found.bytes(SHAPE) == size


@pytest.mark.parametrize(
    ("config", "size"),
    [
        ({"forward_dtype": "mxfp4"}, 96 * 1024 + 96 * 64 + 2 + 2 + 2 * 2 * 32 * 32),
        ({"forward_dtype": "nvfp4"}, 96 * 1024 + 96 * 128 + 2 + 2 + 2 * 2 * 16 * 16),
        ({"forward_dtype": "mxfp4", "hadamard_group_size": 128},
         96 * 1024 + 96 * 64 + 2 + 2 + 2 * 2 * 128 * 128),
    ],
)  # fmt: skip
def test_fp_quant_by_hand(config: dict[str, Any], size: int) -> None:
    """fp_quant 0.3.2's FPQuantLinear: qweight, scales, two global scales, two rotations."""
    found = scheme({"quant_method": "fp_quant", **config}).linear
    assert found is not None
    assert found.bytes(SHAPE) == size


def test_bitnet_of_llama_3_8b() -> None:
    """Four outputs a byte and a scale a matrix: 2.80 B entries, 1.74 B of them bytes."""
    config = {"quant_method": "bitnet", "modules_to_not_convert": ["lm_head"]}
    found = weights_bytes(assign(model(LLAMA_8B, quantization_config=config), "auto")).total
    assert found == LINEAR // 4 + 32 * 7 * 2 + TABLES + NORMS


@pytest.mark.parametrize("method", ["eetq", "quanto"])
def test_head_stays_unless_a_list_without_it_is_given(method: str) -> None:
    def total(**rest: Any) -> int:
        config = {"quant_method": method, **rest}
        return weights_bytes(assign(model(LLAMA_8B, quantization_config=config), "auto")).total

    assert total() == total(modules_to_not_convert=["lm_head"])
    assert total() - total(modules_to_not_convert=[]) == 128256 * 4096 - 2 * 128256


@pytest.mark.parametrize("method", ["eetq", "quanto", "bitnet", "fp_quant", "higgs"])
def test_experts_are_said_to_be_counted_one_by_one(method: str) -> None:
    """transformers 5.24 quantises nn.Linear, which its experts are not."""
    config = {"quant_method": method}
    (note,) = assign(model(DEEPSEEK_V3, quantization_config=config), "auto").notes
    assert f"which {method} leaves in 16 bits" in note
    assert assign(model(LLAMA_8B, quantization_config=config), "auto").notes == ()


def test_spqr_sums_what_its_shapes_say() -> None:
    """spqr_quant 0.2.0's placeholder of such lengths takes 107,724 B."""
    lengths = {"dense_weights": 12_288, "row_offsets": 97, "col_vals": 1_234, "in_perm": 1_024}
    shapes = {
        f"model.layers.{i}.self_attn.{n}_proj.{tensor}.shape": length
        for i in range(32) for n in "qk" for tensor, length in lengths.items()
    }  # fmt: skip
    config = {"quant_method": "spqr", "bits": 3, "beta1": 16, "beta2": 16, "shapes": shapes}
    found = assign(model(LLAMA_8B, quantization_config=config), "auto")
    assert found.bytes_by_format()["spqr"] == 64 * 107_724
    whole = weights_bytes(assign(model(LLAMA_8B), "auto")).total
    left_out = 32 * 2 * (4096 + 1024) * 4096
    assert weights_bytes(found).total == whole - left_out + 64 * 107_724


def test_mxfp8_as_minimax_writes_it() -> None:
    """A byte an entry and a byte for 32 of them."""
    config = {"quant_method": "mxfp8", "weight_block_size": [1, 32], "ignored_layers": ["lm_head"]}
    found = weights_bytes(assign(model(LLAMA_8B, quantization_config=config), "auto")).total
    assert found == LINEAR // 32 * 33 + TABLES + NORMS


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"quant_method": "eetq", "weights": "int4"}, "weights"),
        ({"quant_method": "bitnet", "linear_class": "bitblas"}, "linear_class"),
        ({"quant_method": "fp_quant", "forward_dtype": "mxfp8"}, "forward_dtype"),
        ({"quant_method": "fp_quant", "store_master_weights": True}, "store_master_weights"),
        ({"quant_method": "fp_quant", "pseudoquantization": True}, "pseudoquantization"),
        ({"quant_method": "spqr"}, "shapes"),
        ({"quant_method": "spqr", "bits": 4}, "bits"),
        ({"quant_method": "spqr", "shapes": {}}, "shapes"),
        ({"quant_method": "spqr", "shapes": {"a.dense_weights.shape": 3}},
         "shapes.a.row_offsets.shape"),
        ({"quant_method": "fp_quant", "hadamard_group_size": 48}, "hadamard_group_size"),
        ({"quant_method": "fp_quant", "forward_dtype": "mxfp4", "hadamard_group_size": 16},
         "hadamard_group_size"),
        ({"quant_method": "quanto", "weights": "int8", "activations": "int8"}, "activations"),
        ({"quant_method": "spqr", "shapes": {"a.scales.shape": 3}}, "shapes.a.scales.shape"),
        ({"quant_method": "exl2", "bits": 4.25, "head_bits": 6}, "bits"),
        ({"quant_method": "exl3", "bits": 4.0, "head_bits": 6}, "bits"),
        ({"quant_method": "mxfp8", "weight_block_size": [128, 128]}, "weight_block_size"),
    ],
)  # fmt: skip
def test_what_does_not_settle_the_bytes_is_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        scheme(config)
    assert refused.value.field == f"quantization_config.{field}"
    assert len(str(refused.value)) < 200
