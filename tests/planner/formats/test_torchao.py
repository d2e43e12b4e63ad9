"""torchao's types, against the tensors that torchao itself makes of a matrix of 96 x 2,048 in bf16.

Sizes are the sum of the tensors that `quantize_` left on a CPU: torchao 0.18.0 for version 2, 0.9.0
(0.11.0 for intx) for version 1. int4 needs a GPU there and is derived by hand.
"""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.formats.quantization import assign
from planner.formats.quantization_config import scheme
from planner.model import Model
from planner.weights import weights_bytes
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model

SHAPE = (96, 2048)
PLAIN = {"_type": "Int4PackingFormat", "_data": "PLAIN"}
TILED = {"_type": "Int4PackingFormat", "_data": "TILE_PACKED_TO_4D"}
TENSOR = {"_type": "PerTensor", "_version": 1, "_data": {}}
ROW = {"_type": "PerRow", "_version": 1, "_data": {"dim": -1}}


def group(size: int) -> dict[str, Any]:
    return {"_type": "PerGroup", "_version": 1, "_data": {"group_size": size}}


def typed(kind: str, version: int = 2, **data: Any) -> dict[str, Any]:
    return {"_type": f"{kind}Config", "_version": version, "_data": data}


def torchao(kind: dict[str, Any] | str, **rest: Any) -> dict[str, Any]:
    wrapped = kind if isinstance(kind, str) else {"default": kind}
    return {"quant_method": "torchao", "quant_type": wrapped, **rest}


def llama(kind: dict[str, Any] | str, **rest: Any) -> Model:
    return model(LLAMA_8B, quantization_config=torchao(kind, **rest))


def bytes_of(kind: dict[str, Any] | str, shape: tuple[int, int] = SHAPE, **rest: Any) -> int:
    found = scheme(torchao(kind, **rest)).linear
    assert found is not None
    return found.bytes(shape)


def names(found: Model, layer: int = 0) -> dict[str, str]:
    assignment = assign(found, "auto")
    part = next(p for p in assignment.layers if layer in p.layers)
    return {w.name: fmt.name for w, fmt in (*part.weights, *assignment.outside)}


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (typed("Int8WeightOnly"), 197_088),
        (typed("Int8WeightOnly", granularity=TENSOR), 196_613),
        (typed("Int8WeightOnly", granularity=group(128)), 204_288),
        (typed("Int8DynamicActivationInt8Weight", granularity=ROW), 197_088),
        (typed("Int8DynamicActivationInt8Weight", granularity=[TENSOR, TENSOR]), 196_613),
        (typed("Float8WeightOnly"), 196_992),
        (typed("Float8WeightOnly", granularity=TENSOR), 196_612),
        (typed("Float8WeightOnly", granularity=group(128)), 202_752),
        (typed("Float8DynamicActivationFloat8Weight"), 196_612),
        (typed("Float8DynamicActivationFloat8Weight", granularity=[ROW, ROW]), 196_992),
        (typed("IntxWeightOnly"), 196_896),
        (
            typed("IntxWeightOnly", granularity=group(32),
                  scale_dtype={"_type": "torch.dtype", "_data": "float32"}),
            227_328,
        ),
        (typed("Int8DynamicActivationIntxWeight", weight_granularity=group(32)), 215_040),
        (typed("Int8WeightOnly", 1), 197_568),
        (typed("Int8WeightOnly", 1, group_size=64), 227_328),
        (typed("Int8DynamicActivationInt8Weight", 1), 196_800),
        (typed("Int8DynamicActivationInt4Weight", 1), 221_184),
        (typed("Float8WeightOnly", 1), 196_800),
        (typed("IntxWeightOnly", 1), 196_896),
        ("int8_weight_only", 197_568),
        ("int8_dynamic_activation_int8_weight", 196_800),
        ("float8_weight_only", 196_800),
    ],
)  # fmt: skip
def test_what_torchao_itself_stores(kind: dict[str, Any] | str, size: int) -> None:
    assert bytes_of(kind) == size


FP4 = {"_type": "torch.dtype", "_data": "float4_e2m1fn_x2"}


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (typed("MXDynamicActivationMXWeight", 1), (204_800, 355_328)),
        (typed("MXDynamicActivationMXWeight", 1, weight_dtype=FP4), (106_496, 186_368)),
        (typed("NVFP4DynamicActivationNVFP4Weight", 1), (114_692, 202_756)),
        (typed("NVFP4WeightOnly", 1), (114_692, 202_756)),
        (typed("NVFP4WeightOnly", 1, use_dynamic_per_tensor_scale=False), (114_688, 202_752)),
    ],
)
def test_scales_in_tiles(kind: dict[str, Any], sizes: tuple[int, int]) -> None:
    """torchao 0.18.0's tensors of 96 x 2,048 and of 160 x 2,112."""
    assert (bytes_of(kind), bytes_of(kind, (160, 2112))) == sizes


def test_int4_by_hand() -> None:
    """Half a byte an entry, and 2 + 2 B for each group of an output."""
    plain = typed("Int4WeightOnly", group_size=64, int4_packing_format=PLAIN)
    assert bytes_of(plain) == 96 * (1024 + 2048 // 64 * 4)
    # Tiles: outputs in multiples of 8 and inputs of 1024, scales of the padded inputs included.
    tiled = typed("Int4WeightOnly", group_size=128, int4_packing_format=TILED)
    assert bytes_of(tiled, (90, 1536)) == 96 * (1024 + 2048 // 128 * 4)
    wide = typed("Int4WeightOnly", int4_packing_format=TILED, int4_tile_packed_ntile=16)
    assert bytes_of(wide, (90, 1536)) == bytes_of(tiled, (90, 1536))
    assert bytes_of(wide, (97, 1024)) == 112 * (512 + 8 * 4)
    old = "int4_weight_only"
    kwargs = {"group_size": 128, "layout": ["TensorCoreTiledLayout", {"inner_k_tiles": 8}]}
    assert bytes_of(old, (90, 1536), quant_type_kwargs=kwargs) == bytes_of(tiled, (90, 1536))


def test_fields_of_another_version_are_passed_over() -> None:
    """As config_to_dict of torchao 0.13.0, 0.14.1 and 0.16.0 writes them."""
    packing = {"_type": "PackingFormat", "_data": "PLAIN"}
    layout = {"_type": "TensorCoreTiledLayout", "_data": {"inner_k_tiles": 8}}
    old = typed("Int4WeightOnly", 1, layout=layout, use_hqq=False)
    assert bytes_of(typed("Int4WeightOnly", 1, packing_format=packing)) == bytes_of(old)
    new = typed("Int4WeightOnly", int4_packing_format=PLAIN)
    assert bytes_of(typed("Int4WeightOnly", layout=layout)) == bytes_of(new)
    row = typed("Int8WeightOnly", 1, granularity=ROW, set_inductor_config=True)
    assert bytes_of(row) == bytes_of(typed("Int8WeightOnly", 1))


def test_matrices_that_do_not_suit_are_left_alone() -> None:
    """Groups must divide the inputs of int4, and 16 both sides of a float8 product."""
    by_group = typed("Int4WeightOnly", group_size=256, int4_packing_format=PLAIN)
    small = model(LLAMA_8B, intermediate_size=14_336 + 8,
                  quantization_config=torchao(by_group))  # fmt: skip
    assert names(small)["down_proj"] == "bf16"
    assert names(small)["up_proj"] == "torchao_int4_g256"
    float8 = torchao(typed("Float8DynamicActivationFloat8Weight"))
    small = model(LLAMA_8B, intermediate_size=14_336 + 8, quantization_config=float8)
    assert names(small)["up_proj"] == names(small)["down_proj"] == "bf16"
    assert names(small)["q_proj"] == "fp8"


LINEAR = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
NORMS = 65 * 4096 * 2
TABLE = 128256 * 4096


def test_head_and_embedding() -> None:
    """The head stays unless a list without it is given; both tables where that is asked for."""
    kind = typed("Int8WeightOnly")
    rows = 32 * (2 * 4096 + 2 * 1024 + 2 * 14336 + 4096)
    linear = LINEAR + 5 * rows + NORMS
    table = TABLE + 5 * 128256

    def total(**rest: Any) -> int:
        return weights_bytes(assign(llama(kind, **rest), "auto")).total

    assert total() == total(modules_to_not_convert=["lm_head"]) == linear + 2 * 2 * TABLE
    assert total(modules_to_not_convert=[]) == linear + table + 2 * TABLE
    both = {"include_input_output_embeddings": True, "modules_to_not_convert": ["lm_head"]}
    assert total(**both) == linear + 2 * table


def test_types_by_module() -> None:
    """Exact names before expressions, which must fit whole, before the default."""
    int4, int8 = typed("Int4WeightOnly", int4_packing_format=PLAIN), typed("Int8WeightOnly")
    found = llama(
        typed("ModuleFqn", 1) | {"_type": "ModuleFqnToConfig", "_data": {"module_fqn_to_config": {
            "_default": int4,
            r"re:model\.layers\..+\.self_attn\..+_proj": int8,
            r"re:model\.layers\.1\.mlp": int8,
            "model.layers.3.self_attn.q_proj": None,
            "model.layers.3.mlp.up_proj.weight": int8,
            "model.embed_tokens": int8,
        }}}
    )  # fmt: skip
    first, fourth = names(found, 0), names(found, 3)
    assert (first["q_proj"], first["up_proj"]) == ("torchao_int8", "torchao_int4_g128")
    assert names(found, 1)["up_proj"] == "torchao_int4_g128"
    assert (fourth["q_proj"], fourth["k_proj"], fourth["up_proj"]) == (
        "bf16", "torchao_int8", "torchao_int8",
    )  # fmt: skip
    assert (first["embed_tokens"], first["lm_head"]) == ("torchao_int8", "bf16")


def test_experts_are_linear_layers_unless_they_are_named() -> None:
    int8 = typed("Int8WeightOnly")
    by_name = {"_type": "FqnToConfig", "_data": {"fqn_to_config": {
        r"re:.*\.mlp\.experts\.gate_up_proj": int8}}}  # fmt: skip
    found = names(model(DEEPSEEK_V3, quantization_config=torchao(by_name)), 9)
    assert (found["experts.gate_proj"], found["experts.down_proj"]) == ("torchao_int8", "bf16")
    assert names(model(DEEPSEEK_V3, quantization_config=torchao(int8)), 9)["router"] == "bf16"


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("autoquant", "quant_type"),
        ({"_type": "Int4WeightOnlyConfig", "_data": {"layout": {"_type": "MarlinSparseLayout"}}},
         "quant_type.default._data.layout"),
        (typed("Int4WeightOnly", int4_packing_format="plain_int32"),
         "quant_type.default._data.int4_packing_format"),
        (typed("Int8WeightOnly", granularity={"_type": "PerRow", "_data": {"dim": 0}}),
         "quant_type.default._data.granularity"),
        (typed("IntxWeightOnly", intx_packing_format="OPAQUE_TORCHAO_AUTO"),
         "quant_type.default._data.intx_packing_format"),
        (typed("Float8DynamicActivationFloat8Weight", packing_format="SPARSE_CUTLASS"),
         "quant_type.default._data.packing_format"),
        (typed("Float8DynamicActivationInt4Weight", 1), "quant_type.default._type"),
        (typed("Int8WeightOnly", 3), "quant_type.default._type"),
        (typed("Int8WeightOnly", group_size=64), "quant_type.default._data.group_size"),
        (typed("Fqn", 1) | {"_type": "FqnToConfig"}, "quant_type.default._data.fqn_to_config"),
        (typed("NVFP4DynamicActivationNVFP4Weight", 1, step="convert"),
         "quant_type.default._data.step"),
    ],
)  # fmt: skip
def test_what_does_not_settle_the_bytes_is_refused(kind: Any, field: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        scheme(torchao(kind))
    assert refused.value.field == f"quantization_config.{field}"
