"""HQQ: `quant_config` has the `weight_quant_params` of all matrices, or of each kind by its name.

    {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}

Sources: hqq 0.2.8, core/quantize and bitpack; transformers 5.24, integrations/hqq.
"""

from planner.formats.module_names import Patterns
from planner.formats.quantization_scheme import Rule, Scheme, both, converted
from planner.formats.weight_formats import WHOLE, WeightFormat
from planner.hf_config.reader import Fields
from planner.units import ceil_div

WEIGHTS = "weight_quant_params"
PER_BYTE = (1, 2, 4, 8)
THREE_BITS_PER_WORD = 10
"""Entries of 3 bits in an int32, taken from rows that lie next to each other."""


def read(fields: Fields) -> Scheme:
    """The Scheme of an HQQ configuration; matrices of no listed kind are left alone."""
    inner = fields.child("quant_config") or fields
    ignore, head = converted(fields, "skip_modules")
    if inner.given(WEIGHTS):
        return both("hqq", _format(inner), ignore, head=head)
    kinds = {} if inner is fields else {name: inner.child(name) for name in inner.config}
    if not any(kinds.values()):
        raise fields.refuse("quant_config", f"{WEIGHTS} is missing")
    rules: tuple[Rule, ...] = tuple(
        (Patterns([name], inner.path), None if own is None else _format(own))
        for name, own in kinds.items()
    )
    return Scheme("hqq", None, None, ignore, rules, head=head)


def _format(config: Fields) -> WeightFormat:
    """16-bit scale and zero point per group; axis 1 groups along the inputs."""
    for name in ("scale_quant_params", "zero_quant_params"):
        if config.raw(name) is not None:
            raise config.refuse(name, "scales that are quantised themselves cannot be sized")
    weights = config.child(WEIGHTS)
    if weights is None:
        raise config.refuse(WEIGHTS, "is missing")
    bits = weights.integer("nbits", least=1, most=8)
    group = weights.optional("group_size")
    axis = weights.integer("axis", default=1, least=0, most=1)
    if bits not in (*PER_BYTE, 3):
        raise weights.refuse("nbits", f"{bits} is not 1, 2, 3, 4 or 8")
    if group is not None and group % 8:
        raise weights.refuse("group_size", f"{group} is not a multiple of 8, which HQQ asks for")
    if group is None and (axis == 0 or bits == 3):
        raise weights.refuse("group_size", "is null, which cannot be sized for 3 bits or axis 0")
    block, block_bytes = 8 // bits, 1
    if bits == 3 and group is not None:
        block, block_bytes = THREE_BITS_PER_WORD * group, 4 * group
        if axis == 0:
            block, block_bytes = group, 4 * ceil_div(group, THREE_BITS_PER_WORD)
    where = "output" if group is None else f"{group}"
    return WeightFormat(
        f"hqq{bits}_g{group}" if group else f"hqq{bits}_channel",
        f"HQQ {bits} bits, 16-bit scale and zero point per {where}",
        block, block_bytes, (1, group or WHOLE), 4, flat=group is not None,
    )  # fmt: skip
