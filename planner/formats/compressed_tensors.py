"""compressed-tensors: `config_groups` of targets with `weights` {num_bits, type, strategy, ...}.

Without `input_activations` weights alone are quantised: 8-bit integers are then packed, with scales
in the model's dtype, as narrower ones (vLLM 0.33.0, compressed_tensors_wNa16).
"""

from dataclasses import replace
from typing import Literal

from planner.formats import weight_formats as formats
from planner.formats.module_names import Patterns
from planner.formats.quantization_scheme import Rule, Scheme, block, names, patterns
from planner.formats.weight_formats import WeightFormat
from planner.hf_config.reader import Fields, short

Inputs = Literal["kept", "static", "dynamic"]


def read(fields: Fields) -> Scheme:
    """The Scheme of a compressed-tensors configuration."""
    sparsity = fields.child("sparsity_config")
    if sparsity is not None and sparsity.text("format", default="dense") != "dense":
        raise sparsity.refuse("format", "sparse weights cannot be sized")
    ignore = patterns(fields, "ignore")
    groups = fields.child("config_groups")
    if groups is None:
        raise fields.refuse("config_groups", "is missing, so no format is given")
    default: WeightFormat | None = None
    rules: list[Rule] = []
    for name in groups.config:
        group = groups.child(name)
        if group is None:
            continue
        weights = group.child("weights")
        found = None if weights is None else weight_format(weights, _inputs(group))
        kinds, listed = _targets(group)
        if kinds:
            default = found
        if listed:
            rules.append((Patterns(listed, group.name_of("targets")), found))
    return Scheme("compressed-tensors", default, default, ignore, tuple(rules), head=True)


def _inputs(group: Fields) -> Inputs:
    inputs = group.child("input_activations")
    if inputs is None:
        return "kept"
    return "static" if inputs.raw("dynamic") in (False, None) else "dynamic"


def _targets(group: Fields) -> tuple[bool, list[str]]:
    """Whether all linear layers are meant, and the modules named one by one."""
    targets = names(group, "targets")
    listed = [name for name in targets if name.startswith("re:") or "." in name]
    listed += [name for name in targets if name not in listed and name.islower()]
    classes = [name for name in targets if name not in listed]
    for name in classes:
        if name != "Linear":
            raise group.refuse("targets", f"{short(name)} is not a class whose layers are known")
    return bool(classes), listed


def weight_format(weights: Fields, inputs: Inputs) -> WeightFormat:
    """The format that a `weights` object describes; inputs that are kept are not quantised."""
    found = _stored(weights, inputs)
    return replace(found, multiplied="") if inputs == "kept" else found


def _stored(weights: Fields, inputs: Inputs) -> WeightFormat:
    bits, kind = weights.integer("num_bits"), weights.text("type", default="int")
    group = weights.integer("group_size", default=-1, least=-1)
    strategy = weights.raw("strategy") or ("group" if group > 0 else "tensor")
    static_inputs = inputs == "static"
    match (kind, bits, strategy):
        case ("float", 8, "tensor"):
            return formats.fp8(static_inputs=static_inputs)
        case ("float", 8, "channel"):
            return formats.fp8_per_channel()
        case ("float", 8, "block"):
            return formats.fp8_block(*(block(weights, "block_structure") or (128, 128)))
        case ("float", 8, "group") if group == 32:
            return formats.MXFP8
        case ("float", 4, "tensor_group" | "group") if group == 16:
            return formats.nvfp4(static_inputs=static_inputs)
        case ("float", 4, "group") if group == 32:
            return formats.MXFP4
        case ("int", 8, "tensor" | "channel") if inputs != "kept" or strategy == "tensor":
            return formats.int8(static_inputs=static_inputs, per_tensor=strategy == "tensor")
        case ("int", _, "group" | "channel") if bits in (2, 3, 4, 8):
            return formats.integer(
                bits,
                group if strategy == "group" and group > 0 else None,
                symmetric=weights.flag("symmetric", default=True),
                group_index=weights.raw("actorder") in ("group", True),
            )
    raise weights.refuse(
        "strategy", f"{short(strategy)} of {bits}-bit {short(kind)} weights cannot be sized"
    )
