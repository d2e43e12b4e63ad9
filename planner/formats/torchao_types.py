"""What each of torchao's configuration types stores for a matrix.

    stored(Fields({"_type": "Int4WeightOnlyConfig", "_version": 2, "_data": {"group_size": 128}}))

Read off the tensors that torchao makes of a matrix: 0.18.0 for the version that it writes itself,
0.6.1 to 0.15.0 for version 1. Sources: torchao.quantization.quant_api and its tensors in
torchao/quantization/quantize_/workflows and torchao/prototype/mx_formats, torchao/dtypes for
version 1. A scale in the weight's own dtype counts 2 bytes. Types of weights alone are named
torchao_, others _torchao.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.formats import weight_formats as formats
from planner.formats.weight_formats import WHOLE, WeightFormat
from planner.hf_config.reader import Fields, short

FLOAT8_MATMUL = 8.9
"""Compute capability for multiplying in float8 (torchao and vLLM 0.33 refuse less)."""
FP4_MATMUL = 10.0
"""The same for MX and NVFP4 (torchao/prototype/mx_formats/inference_workflow)."""
MX_BITS = {"float8_e4m3fn": 8, "float8_e5m2": 8, "float4_e2m1fn_x2": 4}
INT4_TILES, INT4_ROWS = 8.0, 9.0
"""The same for int4 in tiles (Int4TilePackedTo4dTensor refuses less), and otherwise (torchao's
test/quantization/quantize_/workflows/int4/test_int4_tensor.py)."""
ROCM_TILE_ROWS = 16
"""int4_tile_packed_ntile on ROCm; the other packings are MSLK's, whose kernels are CUDA's."""
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
TILED, TILE_INPUTS = "TILE_PACKED_TO_4D", 1024
"""tinygemm's packing, and the multiple that it pads inputs to."""
NO_BYTES = {
    "set_inductor_config", "mapping_type", "act_mapping_type", "weight_mapping_type",
    "weight_dtype", "activation_dtype", "mm_config", "kernel_preference", "scaling_mode",
    "activation_value_lb", "activation_value_ub", "int4_choose_qparams_algorithm",
    "intx_choose_qparams_algorithm", "reduce_range", "weight_only_decode", "alg_id", "use_hqq",
    "zero_point_domain", "preserve_zero", "use_triton_kernel",
}  # fmt: skip
"""Fields of these types that change no tensor's size."""
PASSED_OVER = {
    1: {"packing_format", "granularity", "int4_packing_format", "int4_tile_packed_ntile"},
    2: {"layout"},
}
"""By a type's version, fields that torchao 0.13.0 to 0.17.0 write with it and do not read."""
MATRIX, OUTPUT = (WHOLE, WHOLE), (1, WHOLE)
"""Rows and columns that share a scale: all, or those of an output."""


@dataclass(frozen=True, slots=True)
class Stored:
    """old: today's torchao neither makes nor loads it. capability, cuda_only: see Scheme."""

    format: WeightFormat
    old: bool = False
    capability: float | None = None
    cuda_only: bool = False


def stored(config: Fields) -> Stored:
    """What the type in `config` stores. Raises ConfigRefused where its fields do not settle it."""
    data = config.part("_data")
    found = _stored(config, data)
    known = data.read | NO_BYTES | PASSED_OVER.get(config.integer("_version", default=1), set())
    for name, value in data.config.items():
        if value is not None and name not in known:
            raise data.refuse(name, f"is not known to Sizewell of {config.text('_type')}")
    return found


def _stored(config: Fields, data: Fields) -> Stored:
    kind, version = config.text("_type"), config.integer("_version", default=1)
    match kind, version:
        case "Int4WeightOnlyConfig", 1:
            _only(data, "layout", "TensorCoreTiledLayout")
            return Stored(_int4(data.integer("group_size", default=128), 8), old=True)
        case "Int4WeightOnlyConfig", 2:
            packing = _only(data, "int4_packing_format", "PLAIN", "PRESHUFFLED", TILED)
            rows = data.integer("int4_tile_packed_ntile", default=8)
            group = data.integer("group_size", default=128)
            if packing == TILED:
                return Stored(_int4(group, rows), False, INT4_TILES, rows != ROCM_TILE_ROWS)
            return Stored(_int4(group, None), False, INT4_ROWS, cuda_only=True)
        case "Int8WeightOnlyConfig", 1:
            block = 1, data.optional("group_size") or WHOLE
            return Stored(_int8(block, 2 + 8, "and an int64 zero point"), old=True)
        case "Int8DynamicActivationInt8WeightConfig", 1:
            _only(data, "layout", "PlainLayout")
            return Stored(_int8(OUTPUT, 2, multiplied=True), old=True)
        case "Int8WeightOnlyConfig" | "Int8DynamicActivationInt8WeightConfig", 2:
            block, inputs = _granularity(data, OUTPUT), kind != "Int8WeightOnlyConfig"
            return Stored(_int8(block, 4 + 1, "in fp32 and a zero point", multiplied=inputs))
        case "Int8DynamicActivationInt4WeightConfig", 1:
            _only(data, "layout", "PlainLayout")
            group = data.integer("group_size", default=32)
            return Stored(_int8((1, group), 2 + 2, "and a 16-bit zero point"), old=True)
        case "IntxWeightOnlyConfig", 1 | 2:
            return Stored(_intx(data, "", OUTPUT), old=version == 1)
        case "Int8DynamicActivationIntxWeightConfig", 1 | 2:
            return Stored(_intx(data, "weight_", (1, 32)), old=version == 1)
        case "Float8WeightOnlyConfig", 1:
            return Stored(_format("torchao_fp8", OUTPUT, 2), old=True)
        case "Float8WeightOnlyConfig", 2:
            return Stored(_format("torchao_fp8", _granularity(data, OUTPUT), 4, "in fp32"))
        case "Float8DynamicActivationFloat8WeightConfig", 1 | 2:
            _only(data, "packing_format", "PLAIN")
            found = replace(_float8(_granularity(data, MATRIX)), only=(16, 16))
            return Stored(found, version == 1, FLOAT8_MATMUL)
        case "MXDynamicActivationMXWeightConfig", 1:
            data.expect("block_size", 32)
            bits = MX_BITS[_only(data, "weight_dtype", *MX_BITS) or "float8_e4m3fn"]
            found = _tiled_scales(f"mxfp{bits}_torchao", bits, 32)
            found = replace(found, multiplied="fp8" if bits == 8 else "fp4")
            return Stored(found, False, FP4_MATMUL, cuda_only=True)
        case "NVFP4DynamicActivationNVFP4WeightConfig" | "NVFP4WeightOnlyConfig", 1:
            data.expect("step")
            alone = kind == "NVFP4WeightOnlyConfig"
            found = _tiled_scales("torchao_nvfp4" if alone else "nvfp4_torchao", 4, 16)
            found = found if alone else replace(found, multiplied="fp4")
            if data.flag("use_dynamic_per_tensor_scale", default=True):
                found = replace(found, tensor_bytes=4)
            return Stored(found, False, None if alone else FP4_MATMUL, cuda_only=True)
    raise config.refuse("_type", f"{short(kind)} (version {version}) cannot be sized")


def _only(data: Fields, name: str, *allowed: str) -> str | None:
    """The layout or packing under that name; one whose bytes are not known is refused."""
    value = data.raw(name)
    if value is None:
        return None
    if isinstance(value, Mapping):
        value = value.get("_data") if isinstance(value.get("_data"), str) else value.get("_type")
    if isinstance(value, list):
        value = value[0] if value else None
    for each in allowed:
        if str(value).upper() == each.upper():
            return each
    raise data.refuse(name, f"{short(value)} cannot be sized (only {' or '.join(allowed)} can)")


def _int4(group: int, tile_rows: int | None) -> WeightFormat:
    """Int4Tensor, which vLLM reorders for Hopper in as many bytes, or tinygemm's padded tiles.

    Matrices whose inputs the group does not divide are left alone.
    """
    padded = (1, 1) if tile_rows is None else (tile_rows, TILE_INPUTS)
    how = "" if tile_rows is None else f", padded to {padded[0]} x {padded[1]}"
    return WeightFormat(
        f"torchao_int4_g{group}",
        f"torchao int4, a 16-bit scale and zero point per group of {group}{how}",
        2, 1, (1, group), 2 + 2, padded=padded, only=(1, group),
    )  # fmt: skip


def _int8(
    block: tuple[int, int], scale_bytes: int, beside: str = "", *, multiplied: bool = False
) -> WeightFormat:
    """multiplied: inputs are quantised to int8 as well."""
    if not multiplied:
        return _format("torchao_int8", block, scale_bytes, beside)
    return replace(_format("int8_torchao", block, scale_bytes, beside), multiplied="int8")


def _intx(data: Fields, prefix: str, default: tuple[int, int]) -> WeightFormat:
    """IntxUnpackedToInt8Tensor: a byte an entry whatever the bits, and an int8 zero point."""
    for name in ("intx_packing_format", "packing_format"):
        _only(data, name, "UNPACKED_TO_INT8")
    _only(data, "layout", "QDQLayout", "PlainLayout")
    dtype = _only(data, f"{prefix}scale_dtype", *DTYPE_BYTES)
    block = _granularity(data, default, f"{prefix}granularity")
    return _int8(block, DTYPE_BYTES[dtype or "bfloat16"] + 1, "and a zero point")


def _float8(block: tuple[int, int]) -> WeightFormat:
    if block == MATRIX:
        return formats.fp8()
    return formats.fp8_per_channel() if block == OUTPUT else formats.fp8_block(*block)


def _tiled_scales(name: str, bits: int, group: int) -> WeightFormat:
    """Blocks of `group` with a byte of scale each, which fill tiles of 128 x 4."""
    return WeightFormat(
        name, f"torchao {bits}-bit floats, a byte of scale per {group}, in tiles of 128 x 4",
        8, bits, (1, group), 1, scale_tile=(128, 4),
    )  # fmt: skip


def _format(name: str, block: tuple[int, int], scale_bytes: int, beside: str = "") -> WeightFormat:
    """A byte an entry, and scales."""
    where = {MATRIX: "matrix", OUTPUT: "output"}.get(block) or f"{block[0]} x {block[1]}"
    scale = " ".join(f"a scale {beside} per {where}".split())
    return WeightFormat(name, f"torchao 8 bits, {scale}", 1, 1, block, scale_bytes)


def _granularity(
    data: Fields, default: tuple[int, int], name: str = "granularity"
) -> tuple[int, int]:
    """Rows and columns that share a scale; of a pair the weights' is the second."""
    value: Any = data.raw(name)
    if value is None:
        return default
    if isinstance(value, list) and len(value) == 2:
        value = value[1]
    if isinstance(value, Mapping):
        inner = Fields(value, f"{data.name_of(name)}.").part("_data")
        match value.get("_type"):
            case "PerTensor":
                return MATRIX
            case "PerRow" if inner.raw("dim") in (None, -1):
                return OUTPUT
            case "PerAxis" if inner.raw("axis") == 0:
                return OUTPUT
            case "PerGroup":
                return 1, inner.integer("group_size")
            case "PerBlock":
                rows, columns = inner.sequence("block_size", length=2) or (None, None)
                sides = Fields({"rows": rows, "columns": columns}, inner.path)
                return sides.integer("rows"), sides.integer("columns")
    raise data.refuse(name, f"{short(value)} is not a granularity whose scales can be counted")
