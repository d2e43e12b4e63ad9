"""`quantization_config` -> Scheme: which format a published checkpoint stores its modules in.

Read by `quant_method`, each with the fields its own library writes. A method or a value that does
not settle the bytes is refused by name. Sources: the configuration classes of transformers 5.23
and the loaders of vLLM 0.33.0, whose memory after repacking is what the formats count.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from planner.errors import ConfigRefused
from planner.formats import (
    codebooks,
    compressed_tensors,
    hqq,
    mlx,
    modelopt,
    quark,
    torchao,
    transformers_methods,
)
from planner.formats import weight_formats as formats
from planner.formats.module_names import Patterns
from planner.formats.quantization_scheme import (
    FIELD,
    Rule,
    Scheme,
    block,
    both,
    group_size,
    patterns,
)
from planner.hf_config.reader import Fields, short

Reader = Callable[[Fields], Scheme]
AWQ_BITS = (4, 8)
"""vLLM 0.33's awq ("only 4-bit weight quantization is supported") and awq_marlin (4 and 8)."""


def scheme(config: Mapping[str, Any]) -> Scheme:
    """The Scheme that a `quantization_config` describes.

    Raises ConfigRefused, naming the field, where it does not settle the format.
    """
    if not isinstance(config, Mapping):
        raise ConfigRefused(f"{FIELD}: {short(config)} is not an object", field=FIELD)
    fields = Fields(config, f"{FIELD}.")
    method = fields.text("quant_method", default=_implied(config)).lower()
    read = READERS.get(method)
    if read is None:
        raise fields.refuse(
            "quant_method",
            f"{short(method)} is not known to Sizewell: name a weights dtype instead",
        )
    return read(fields)


def _implied(config: Mapping[str, Any]) -> str | None:
    if any(config.get(k) for k in ("load_in_8bit", "load_in_4bit", "_load_in_8bit")):
        return "bitsandbytes"
    if mlx.is_mlx(config):
        return "mlx"
    return "modelopt" if "quant_algo" in config or "quantization" in config else None


def _fp8(fields: Fields) -> Scheme:
    ignore = patterns(fields, "modules_to_not_convert", "ignored_layers")
    tile = block(fields, "weight_block_size")
    expert_dtype = fields.text("expert_dtype", default="fp8")
    fields.expect("fmt", "e4m3", "e4m3fn", "float8_e4m3fn")
    fields.expect("activation_scheme", "dynamic", "static")
    if tile is None:
        static = fields.text("activation_scheme", default="dynamic") == "static"
        found = formats.fp8(static_inputs=static)
    else:
        packed = expert_dtype == "fp4"
        found = formats.fp8_block(*tile, scale_bytes=1 if packed else 4)
    if expert_dtype == "fp4":
        return Scheme("fp8", found, replace(formats.MXFP4, multiplied="fp8"), ignore)
    if expert_dtype != "fp8":
        raise fields.refuse("expert_dtype", f"{short(expert_dtype)} is neither fp4 nor fp8")
    return both("fp8", found, ignore)


def _mxfp8(fields: Fields) -> Scheme:
    """As MiniMax writes it: vLLM reads no more than the list, as ModelOpt's MXFP8."""
    if block(fields, "weight_block_size") not in (None, (1, 32)):
        raise fields.refuse("weight_block_size", "must be [1, 32], which MXFP8 is")
    ignore = patterns(fields, "ignored_layers", "modules_to_not_convert")
    return both("mxfp8", formats.MXFP8, ignore, head=True)


def _mxfp4(fields: Fields) -> Scheme:
    """As gpt-oss: experts, whose inputs stay in 16 bits unless an engine is told otherwise (vLLM's
    fused_moe/oracle/mxfp4)."""
    ignore = patterns(fields, "modules_to_not_convert", "ignored_layers")
    return Scheme("mxfp4", None, replace(formats.MXFP4, multiplied=""), ignore)


def _gptq(fields: Fields) -> Scheme:
    fields.expect("bits", 2, 3, 4, 8)
    bits, group = fields.integer("bits", least=2, most=8), group_size(fields)
    symmetric = fields.flag("sym", default=True)
    index = fields.flag("desc_act", default=False)
    found = formats.integer(bits, group, symmetric=symmetric, group_index=index)
    rules: list[Rule] = []
    for name, change in _objects(fields, "dynamic"):
        listed = Patterns([name[2:] if name[:2] in ("+:", "-:") else name], FIELD, regex=True)
        if name.startswith("-:"):
            rules.append((listed, None))
            continue
        own = Fields(
            {"bits": bits, "group_size": group or -1, **change}, fields.name_of("dynamic.")
        )
        rules.append((listed, formats.integer(
            own.integer("bits", least=2, most=8), group_size(own),
            symmetric=own.flag("sym", default=symmetric),
            group_index=own.flag("desc_act", default=index),
        )))  # fmt: skip
    ignore = patterns(fields, "modules_to_not_convert")
    inside = fields.sequence("modules_in_block_to_quantize")
    if inside is not None:
        flat = [name for part in inside for name in (part if isinstance(part, list) else [part])]
        listed = patterns(
            Fields({"modules_in_block_to_quantize": flat}, fields.path),
            "modules_in_block_to_quantize",
        )
        return Scheme(
            "gptq", None, None, ignore, (*rules, (listed, found)),
            head=fields.flag("lm_head", default=False),
        )  # fmt: skip
    return both("gptq", found, ignore, rules, head=fields.flag("lm_head", default=False))


def _objects(fields: Fields, name: str) -> list[tuple[str, Mapping[str, Any]]]:
    value = fields.raw(name)
    if value is None:
        return []
    if not isinstance(value, Mapping) or not all(isinstance(v, Mapping) for v in value.values()):
        raise fields.refuse(name, f"{short(value)} is not an object of objects")
    return list(value.items())


def _auto_round(fields: Fields) -> Scheme:
    fields.expect("data_type", "int")
    found = formats.integer(
        fields.integer("bits", least=2, most=8), group_size(fields),
        symmetric=fields.flag("sym", default=True),
    )  # fmt: skip
    rules: list[Rule] = []
    for name, change in _objects(fields, "extra_config"):
        own = Fields(change, fields.name_of("extra_config."))
        bits = own.integer("bits", default=16)
        listed = Patterns([name], FIELD)
        rules.append((listed, None if bits >= 16 else formats.integer(
            bits, group_size(own), symmetric=own.flag("sym", default=True)
        )))  # fmt: skip
    return both("auto-round", found, patterns(fields, "modules_to_not_convert"), rules)


def _awq(fields: Fields) -> Scheme:
    bits = fields.integer("bits", "w_bit", default=4, least=2, most=8)
    if bits not in AWQ_BITS:
        raise fields.refuse("bits", f"{bits} is not 4 or 8, which are all that AWQ's kernels take")
    group = group_size(fields, "group_size", "q_group_size")
    found = formats.integer(bits, group, symmetric=not fields.flag("zero_point", default=True))
    return both("awq", found, patterns(fields, "modules_to_not_convert"))


def _bitsandbytes(fields: Fields) -> Scheme:
    ignore = patterns(fields, "llm_int8_skip_modules")
    if fields.flag("load_in_8bit", "_load_in_8bit", default=False):
        if fields.flag("load_in_4bit", "_load_in_4bit", default=False):
            raise fields.refuse("load_in_4bit", "and load_in_8bit are both set")
        return both("bitsandbytes", formats.INT8_BITSANDBYTES, ignore)
    if not fields.flag("load_in_4bit", "_load_in_4bit", default=False):
        raise fields.refuse("load_in_4bit", "neither it nor load_in_8bit is set")
    kind = fields.text("bnb_4bit_quant_type", default="fp4")
    fields.expect("bnb_4bit_quant_type", "fp4", "nf4")
    double = fields.flag("bnb_4bit_use_double_quant", default=False)
    return both("bitsandbytes", formats.nf4(double_quant=double, kind=kind), ignore)


def _fbgemm(fields: Fields) -> Scheme:
    return both("fbgemm_fp8", formats.fp8_per_channel(), patterns(fields, "modules_to_not_convert"))


READERS: dict[str, Reader] = {
    "fp8": _fp8, "mxfp4": _mxfp4, "gpt_oss_mxfp4": _mxfp4,
    "gptq": _gptq, "gptq_marlin": _gptq, "auto-round": _auto_round,
    "awq": _awq, "awq_marlin": _awq, "bitsandbytes": _bitsandbytes, "fbgemm_fp8": _fbgemm,
    "mxfp8": _mxfp8,
    "torchao": torchao.read, "mlx": mlx.read,
    "aqlm": codebooks.read_aqlm, "vptq": codebooks.read_vptq, "higgs": codebooks.read_higgs,
    "quanto": transformers_methods.read_quanto, "hqq": hqq.read,
    "eetq": transformers_methods.read_eetq, "bitnet": transformers_methods.read_bitnet,
    "fp_quant": transformers_methods.read_fp_quant, "spqr": transformers_methods.read_spqr,
    "exl2": transformers_methods.refuse_exllama, "exl3": transformers_methods.refuse_exllama,
    "compressed-tensors": compressed_tensors.read,
    "quark": quark.read,
    "modelopt": modelopt.read, "modelopt_fp4": modelopt.read, "modelopt_mixed": modelopt.read,
}  # fmt: skip
