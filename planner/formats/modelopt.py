"""NVIDIA ModelOpt: one `quant_algo` for all, or one per module under `quantized_layers`.

Older checkpoints keep it in a FILE of its own beside config.json, where engines look for it too.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.formats import weight_formats as formats
from planner.formats.compressed_tensors import weight_format
from planner.formats.module_names import Patterns
from planner.formats.quantization_scheme import Rule, Scheme, both, patterns
from planner.formats.weight_formats import WeightFormat
from planner.hf_config.reader import Fields, short

FILE = "hf_quant_config.json"


def lacks(config: Mapping[str, Any]) -> bool:
    """Whether a configuration leaves its quantisation to the FILE beside it, if there is one."""
    return config.get("quantization_config") is None


def quantised(config: Mapping[str, Any], beside: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with what the FILE beside it says."""
    return {**config, "quantization_config": {"quant_method": "modelopt", **beside}}


def read(fields: Fields) -> Scheme:
    """The Scheme of a ModelOpt configuration, which may be nested under `quantization`."""
    fields = fields.child("quantization") or fields
    ignore = patterns(fields, "ignore", "exclude_modules", "modules_to_not_convert")
    algo = fields.text("quant_algo").upper()
    if algo != "MIXED_PRECISION":
        return both("modelopt", _format(fields, "quant_algo", algo), ignore, head=True)
    layers = fields.child("quantized_layers")
    if layers is None:
        raise fields.refuse(
            "quantized_layers",
            "is missing, which quant_algo MIXED_PRECISION needs: name a weights dtype instead",
        )
    by_format: dict[WeightFormat, list[str]] = {}
    for name in layers.config:
        layer = layers.child(name)
        if layer is not None:
            found = _format(layer, "quant_algo", layer.text("quant_algo").upper())
            by_format.setdefault(found, []).append(name)
    rules: tuple[Rule, ...] = tuple(
        (Patterns(listed, layers.path), found) for found, listed in by_format.items()
    )
    return Scheme("modelopt", None, None, ignore, rules, head=True)


def _format(fields: Fields, name: str, algo: str) -> WeightFormat:
    group = fields.integer("group_size", default=0, least=0)
    match algo:
        case "FP8":
            return formats.fp8(static_inputs=True)
        case "FP8_PER_CHANNEL_PER_TOKEN":
            return formats.fp8_per_channel()
        case "FP8_PB_WO":
            return formats.fp8_block()
        case "NVFP4" | "NVFP4_AWQ" | "W4A16_NVFP4" if group in (0, 16):
            found = formats.nvfp4(static_inputs=algo != "W4A16_NVFP4")
            return replace(found, multiplied="") if algo == "W4A16_NVFP4" else found
        case "MXFP8":
            return formats.MXFP8
        case "MXFP4":
            return formats.MXFP4
        case "W4A8_MXFP4_FP8":
            return replace(formats.MXFP4, multiplied="fp8")
        case "W4A16_AWQ" | "W4A8_AWQ":
            return formats.integer(4, group or 128, symmetric=True)
    groups = fields.child("config_groups")
    first = None if groups is None else next(iter(groups.config), None)
    if groups is not None and first is not None and len(groups.config) == 1:
        weights = (groups.child(first) or fields).child("weights")
        if weights is not None:
            return weight_format(weights, "static")
    raise fields.refuse(name, f"{short(algo)} is not an algorithm Sizewell can size")
