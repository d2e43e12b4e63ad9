"""AMD Quark: `global_quant_config` for all linear layers, `layer_quant_config` by name, `exclude`.

Each has a `weight` of {dtype, qscheme, group_size} and what is done to `input_tensors`. Source:
quark.torch.quantization.config, and vLLM 0.33's loader of such checkpoints.
"""

from planner.formats import weight_formats as formats
from planner.formats.module_names import Patterns
from planner.formats.quantization_scheme import Rule, Scheme, patterns
from planner.formats.weight_formats import WeightFormat
from planner.hf_config.reader import Fields, short

FP8 = ("fp8_e4m3", "fp8_e4m3fn")
FP4 = ("fp4", "fp4_e2m1")


def read(fields: Fields) -> Scheme:
    """The Scheme of a Quark configuration."""
    if fields.raw("layer_type_quant_config"):
        raise fields.refuse("layer_type_quant_config", "names classes whose layers are not known")
    every = fields.child("global_quant_config")
    if every is None:
        raise fields.refuse("global_quant_config", "is missing, so no format is given")
    named = fields.part("layer_quant_config")
    layers = ((name, named.child(name)) for name in named.config)
    rules: tuple[Rule, ...] = tuple(
        (Patterns([name], named.path), _format(layer)) for name, layer in layers if layer
    )
    found = _format(every)
    return Scheme("quark", found, found, patterns(fields, "exclude"), rules, head=True)


def _format(layer: Fields) -> WeightFormat | None:
    """What the weights of such layers are stored in; None where they are left alone."""
    weight, inputs = layer.child("weight"), layer.child("input_tensors")
    if weight is None:
        return None
    static = inputs is not None and inputs.raw("is_dynamic") in (False, None)
    kind, scheme = weight.text("dtype"), weight.text("qscheme")
    group = weight.integer("group_size", default=0, least=0)
    if kind in FP8 and scheme == "per_tensor":
        return formats.fp8(static_inputs=static)
    if kind in FP8 and scheme == "per_channel":
        return formats.fp8_per_channel()
    if kind in FP8 and scheme == "per_group" and group == 32:
        return formats.MXFP8
    if kind in FP4 and scheme == "per_group" and group in (0, 32):
        return formats.MXFP4
    if kind == "int8" and scheme in ("per_tensor", "per_channel"):
        return formats.int8(static_inputs=static, per_tensor=scheme == "per_tensor")
    raise weight.refuse(
        "dtype", f"{short(kind)} with qscheme {short(scheme)} is not a format Sizewell can size"
    )
