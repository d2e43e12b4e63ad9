"""MLX: `bits` and `group_size` for every matrix, experts, embedding and head; modules by name.

    {"group_size": 64, "bits": 4, "mode": "affine", "model.layers.0.mlp.down_proj": {"bits": 6}}

There is no `quant_method`; mlx-lm repeats the object as `quantization`. Which other layers a model
type leaves alone is in its code and in the files, so those are refused unless they are named.
Sources: mlx-lm 0.32.2, utils.quantize_model and load_model; mlx 0.32.4, nn.quantize.
"""

from collections.abc import Mapping
from typing import Any

from planner.formats.module_names import Patterns
from planner.formats.quantization_scheme import EMBEDDING, FIELD, Scheme, by_name
from planner.formats.weight_formats import WeightFormat
from planner.hf_config.reader import Fields, short

OWN = ("bits", "group_size", "mode")
SURE = frozenset(
    {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"}
    | {EMBEDDING}
)
GROUPS, USUAL = (32, 64, 128), (4, 64)
"""Groups of the affine mode; bits and group of a module that says neither."""
FLOATS = {"mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}
"""Bits and group of the modes whose scales are a byte."""


def is_mlx(config: Mapping[str, Any]) -> bool:
    """Whether a quantisation without a method is MLX's: its own fields, and names of modules."""
    rest = (name for name in config if name not in OWN)
    modules = all("." in name or name == "lm_head" for name in rest)
    return "bits" in config and "group_size" in config and modules


def read(fields: Fields) -> Scheme:
    """The Scheme of an MLX configuration."""
    found = _format(fields)
    listed = [name for name in fields.config if name not in (*OWN, "quant_method")]
    named = by_name(((_checkpoint_name(name), _own(fields, name)) for name in listed), FIELD)
    return Scheme(
        "mlx", found, found, Patterns((), FIELD), head=True, named=named,
        table=named.get(EMBEDDING, found), sure=SURE,
    )  # fmt: skip


def _own(fields: Fields, name: str) -> WeightFormat | None:
    value = fields.raw(name)
    if isinstance(value, bool):
        return _format(fields) if value else None
    own = fields.child(name)
    if own is None:
        return None
    for each in own.config:
        if each not in (*OWN, "global_scale", "quantize_input"):
            raise own.refuse(each, "is not known to Sizewell")
    bits, group = FLOATS.get(own.text("mode", default="affine"), USUAL)
    return _format(Fields({"bits": bits, "group_size": group, **own.config}, own.path))


def _checkpoint_name(name: str) -> str:
    return name.replace(".switch_mlp.", ".experts.0.")


def _format(fields: Fields) -> WeightFormat:
    mode = fields.text("mode", default="affine")
    bits, group = fields.integer("bits", most=8), fields.integer("group_size")
    if fields.raw("global_scale"):
        raise fields.refuse("global_scale", "adds scales that cannot be counted")
    if mode == "affine":
        if bits == 7:
            raise fields.refuse("bits", "7 is not 1 to 6 or 8")
        if group not in GROUPS:
            raise fields.refuse("group_size", f"{group} is not 32, 64 or 128")
        scale, how = 4, "a 16-bit scale and bias"
    elif FLOATS.get(mode) == (bits, group):
        scale, how = 1, "a byte of scale"
    else:
        raise fields.refuse("mode", f"{short(mode)} of {bits} bits in groups of {group} is unknown")
    return WeightFormat(
        f"mlx{bits}_g{group}" if mode == "affine" else f"mlx_{mode}",
        f"MLX {mode} {bits} bits, {how} per {group}",
        8, bits, (1, group), scale, only=(1, group),
    )  # fmt: skip
