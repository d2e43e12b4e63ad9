"""torchao: `quant_type` is {"default": {_type, _version, _data}}, or a bare name in older files.

    {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int4WeightOnlyConfig", ...}}}

What each type stores was read off the tensors that torchao makes of a matrix: 0.18.0 for the
version that it writes itself, 0.6.1 to 0.15.0 for version 1 and for bare names, whose tensors
neither vLLM 0.33 nor transformers 5 load. Sources: torchao.quantization.quant_api and
torchao/quantization/quantize_/workflows; torchao.core.config for the form; transformers 5.24,
quantizers/quantizer_torchao, for what is left alone. Scales in the weight's dtype count 2 bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from planner.formats import weight_formats as formats
from planner.formats.module_names import Patterns, bare
from planner.formats.quantization_scheme import EMBEDDING, Rule, Scheme, by_name, converted, names
from planner.formats.weight_formats import WHOLE, WeightFormat
from planner.hf_config.reader import Fields, short

OLD = "torchao v1"
"""What a Scheme is called whose tensors today's torchao no longer makes."""
NAMES = {
    "int4_weight_only": "Int4WeightOnlyConfig",
    "int8_weight_only": "Int8WeightOnlyConfig",
    "int8_dynamic_activation_int8_weight": "Int8DynamicActivationInt8WeightConfig",
    "int8_dynamic_activation_int4_weight": "Int8DynamicActivationInt4WeightConfig",
    "float8_weight_only": "Float8WeightOnlyConfig",
    "float8_dynamic_activation_float8_weight": "Float8DynamicActivationFloat8WeightConfig",
}
BY_MODULE = ("FqnToConfig", "ModuleFqnToConfig")
FLOAT8_MATMUL = 8.9
"""Compute capability for multiplying in float8 (torchao and vLLM 0.33 refuse less)."""
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True, slots=True)
class Stored:
    """What one type stores. old: as torchao no longer does. capability: see Scheme."""

    format: WeightFormat
    old: bool = False
    capability: float | None = None


def read(fields: Fields) -> Scheme:
    """The Scheme of a torchao configuration."""
    config = _config(fields)
    ignore, head = converted(fields)
    tables = fields.flag("include_input_output_embeddings", default=False)
    if tables:
        listed = names(fields, "modules_to_not_convert")
        kept = [name for name in listed if bare(name) not in (EMBEDDING, "lm_head")]
        ignore, head = Patterns(kept, fields.name_of("modules_to_not_convert")), True
    default: Stored | None = None
    named: list[tuple[str, Stored | None]] = []
    ruled: list[tuple[Patterns, Stored | None]] = []
    if config.text("_type") in BY_MODULE:
        for name, own in _modules(config.part("_data")):
            found = None if own is None else _stored(own)
            if name == "_default":
                default = found
            elif name.startswith("re:"):
                whole = rf"(?:{name[3:].removesuffix('.weight')})\Z"
                ruled.append((Patterns([whole], config.path, regex=True), found))
            else:
                named.append((name, found))
    else:
        default = _stored(config)
    used = [s for s in (default, *(s for _, s in named), *(s for _, s in ruled)) if s is not None]
    floors = [s.capability for s in used if s.capability is not None]
    single = by_name(((name, _format(s)) for name, s in named), config.path)
    linear = _format(default)
    rules: tuple[Rule, ...] = tuple((patterns, _format(s)) for patterns, s in ruled)
    return Scheme(
        OLD if any(s.old for s in used) else "torchao", linear, linear, ignore, rules, head=head,
        named=single, table=single.get(EMBEDDING, linear if tables else None),
        capability=max(floors, default=None),
    )  # fmt: skip


def _format(stored: Stored | None) -> WeightFormat | None:
    return None if stored is None else stored.format


def _config(fields: Fields) -> Fields:
    """The type as an object; a bare name has its options in `quant_type_kwargs`."""
    value = fields.raw("quant_type")
    if isinstance(value, str):
        if value not in NAMES:
            raise fields.refuse("quant_type", f"{short(value)} does not settle what is stored")
        data = fields.part("quant_type_kwargs").config
        return Fields({"_type": NAMES[value], "_data": data}, f"{fields.name_of('quant_type')}.")
    config = fields.child("quant_type")
    default = None if config is None else config.child("default")
    if default is None:
        raise fields.refuse("quant_type", "is missing, so no format is given")
    return default


def _modules(data: Fields) -> list[tuple[str, Fields | None]]:
    modules = data.child("fqn_to_config") or data.child("module_fqn_to_config")
    modules = modules or data.part("module_fqn_to_config")
    return [(name, modules.child(name)) for name in modules.config]


def _stored(config: Fields) -> Stored:
    kind, version = config.text("_type"), config.integer("_version", default=1)
    data = config.part("_data")
    match kind, version:
        case "Int4WeightOnlyConfig", 1:
            _only(data, "layout", "TensorCoreTiledLayout")
            return Stored(_int4(data.integer("group_size", default=128), (8, 1024)), old=True)
        case "Int4WeightOnlyConfig", 2:
            return Stored(_int4_packed(data))
        case "Int8WeightOnlyConfig", 1:
            group = data.optional("group_size")
            return Stored(_int8((1, group or WHOLE), 2 + 8, "and an int64 zero point"), old=True)
        case "Int8DynamicActivationInt8WeightConfig", 1:
            _only(data, "layout", "PlainLayout")
            return Stored(_int8((1, WHOLE), 2), old=True)
        case "Int8WeightOnlyConfig" | "Int8DynamicActivationInt8WeightConfig", 2:
            return Stored(_int8(_granularity(data, (1, WHOLE)), 4 + 1, "(fp32) and zero point"))
        case "Int8DynamicActivationInt4WeightConfig", 1:
            _only(data, "layout", "PlainLayout")
            group = data.integer("group_size", default=32)
            return Stored(_int8((1, group), 2 + 2, "and zero point"), old=True)
        case "IntxWeightOnlyConfig", 1 | 2:
            return Stored(_intx(data, "granularity", "scale_dtype", (1, WHOLE)), old=version == 1)
        case "Int8DynamicActivationIntxWeightConfig", 1 | 2:
            found = _intx(data, "weight_granularity", "weight_scale_dtype", (1, 32))
            return Stored(found, old=version == 1)
        case "Float8WeightOnlyConfig", 1:
            how = "8-bit floats, a 16-bit scale per output"
            row = replace(formats.fp8_per_channel(), scale_bytes=2, description=how)
            return Stored(row, old=True)
        case "Float8WeightOnlyConfig", 2:
            return Stored(_float8(_granularity(data, (1, WHOLE))))
        case "Float8DynamicActivationFloat8WeightConfig", 1 | 2:
            _only(data, "packing_format", "PLAIN")
            found = replace(_float8(_granularity(data, (WHOLE, WHOLE))), only=(16, 16))
            return Stored(found, version == 1, FLOAT8_MATMUL)
    raise config.refuse("_type", f"{short(kind)} (version {version}) cannot be sized")


def _only(data: Fields, name: str, *allowed: str) -> None:
    """Refuse another layout or packing than the one whose bytes are known."""
    value = data.raw(name)
    if isinstance(value, Mapping):
        value = value.get("_data") if isinstance(value.get("_data"), str) else value.get("_type")
    if value is not None and str(value).upper() not in [each.upper() for each in allowed]:
        raise data.refuse(name, f"{short(value)} cannot be sized (only {' or '.join(allowed)} can)")


def _int4_packed(data: Fields) -> WeightFormat:
    """Int4Tensor and Int4PreshuffledTensor, or tiles padded to 1024 inputs.

    vLLM reorders the first into the second on Hopper, in as many bytes.
    """
    _only(data, "int4_packing_format", "PLAIN", "PRESHUFFLED", "TILE_PACKED_TO_4D")
    packing = data.raw("int4_packing_format")
    name = packing.get("_data") if isinstance(packing, Mapping) else packing
    tiled = str(name).upper() == "TILE_PACKED_TO_4D"
    rows = data.integer("int4_tile_packed_ntile", default=8)
    group = data.integer("group_size", default=128)
    return _int4(group, (rows, 1024) if tiled else (1, 1))


def _int4(group: int, padded: tuple[int, int]) -> WeightFormat:
    how = "" if padded == (1, 1) else f", padded to {padded[0]} x {padded[1]}"
    return WeightFormat(
        f"int4_torchao_g{group}",
        f"torchao int4, a 16-bit scale and zero point per group of {group}{how}",
        2, 1, (1, group), 2 + 2, padded=padded, only=(1, group),
    )  # fmt: skip


def _int8(scale_block: tuple[int, int], scale_bytes: int, beside: str = "") -> WeightFormat:
    where = {(WHOLE, WHOLE): "matrix", (1, WHOLE): "output"}.get(scale_block)
    where = where or f"{scale_block[0]} x {scale_block[1]}"
    return WeightFormat(
        "int8_torchao", " ".join(f"torchao int8, a scale {beside} per {where}".split()),
        1, 1, scale_block, scale_bytes,
    )  # fmt: skip


def _intx(data: Fields, granularity: str, dtype: str, default: tuple[int, int]) -> WeightFormat:
    """IntxUnpackedToInt8Tensor: a byte an entry whatever the bits, and an int8 zero point."""
    _only(data, "intx_packing_format", "UNPACKED_TO_INT8")
    _only(data, "layout", "QDQLayout", "PlainLayout")
    found = data.raw(dtype)
    name = found.get("_data") if isinstance(found, Mapping) else found
    if name is not None and name not in DTYPE_BYTES:
        raise data.refuse(dtype, f"{short(found)} is not a dtype that a scale has")
    scale = 2 if name is None else DTYPE_BYTES[name]
    return _int8(_granularity(data, default, granularity), scale + 1, "and zero point")


def _float8(scale_block: tuple[int, int]) -> WeightFormat:
    if scale_block == (WHOLE, WHOLE):
        return formats.fp8()
    if scale_block == (1, WHOLE):
        return formats.fp8_per_channel()
    return formats.fp8_block(*scale_block)


def _granularity(
    data: Fields, default: tuple[int, int], name: str = "granularity"
) -> tuple[int, int]:
    """Rows and columns that share a scale; of a list the weights' is the second."""
    value: Any = data.raw(name)
    if isinstance(value, list):
        value = value[-1] if len(value) == 2 else value
    if value is None:
        return default
    if isinstance(value, Mapping):
        own = Fields(value, f"{data.name_of(name)}.")
        inner = own.part("_data")
        match own.raw("_type"):
            case "PerTensor":
                return WHOLE, WHOLE
            case "PerRow" if inner.raw("dim") in (None, -1):
                return 1, WHOLE
            case "PerAxis" if inner.raw("axis") == 0:
                return 1, WHOLE
            case "PerGroup":
                return 1, inner.integer("group_size")
            case "PerBlock":
                sides = inner.sequence("block_size", length=2) or [0, 0]
                if all(isinstance(side, int) and side > 0 for side in sides):
                    return sides[0], sides[1]
    raise data.refuse(name, f"{short(value)} is not a granularity whose scales can be counted")
