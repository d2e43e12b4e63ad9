"""Vectors of weights stored as indices into a table: AQLM, VPTQ and HIGGS.

    {"quant_method": "aqlm", "in_group_size": 8, "num_codebooks": 1, "nbits_per_codebook": 16}

Tables belong to a matrix, so they are counted once for each. What the model's dtype stores (tables,
scales) is 16-bit. Sources: aqlm 1.1.7, inference.QuantizedLinear; vptq 0.0.5,
layers/vqlinear.VQuantLinear; transformers 5.24, integrations/higgs.
"""

from math import gcd

from planner.formats.quantization_scheme import Scheme, both, by_name, converted, patterns
from planner.formats.weight_formats import WHOLE, WeightFormat
from planner.hf_config.reader import Fields, short

INT_BITS = (8, 16, 32, 64)
"""Widths in which torch stores AQLM's codes."""


def read_aqlm(fields: Fields) -> Scheme:
    """AQLM: each group of weights is a sum of one entry from every codebook."""
    wide = fields.integer("in_group_size", default=8)
    tall = fields.integer("out_group_size", default=1)
    books = fields.integer("num_codebooks", default=1)
    bits = fields.integer("nbits_per_codebook", default=16, most=64)
    code = next(width for width in INT_BITS if bits <= width) // 8
    found = WeightFormat(
        f"aqlm_{books}x{bits}g{wide}",
        f"AQLM, {books} codes of {bits} bits per {wide} weights, a 16-bit scale per output",
        wide, books * code, (tall, WHOLE), 2, block_rows=tall,
        tensor_bytes=2 * books * 2**bits * tall * wide,
    )  # fmt: skip
    return both("aqlm", found, patterns(fields, "linear_weights_not_to_quantize"), head=True)


def read_vptq(fields: Fields) -> Scheme:
    """VPTQ: `config_for_layers` has the tables of every matrix; others are left alone."""
    if fields.raw("shared_layer_config"):
        raise fields.refuse("shared_layer_config", "names no matrices: their tables must be listed")
    layers = fields.child("config_for_layers")
    if layers is None or not layers.config:
        raise fields.refuse("config_for_layers", "is missing, so no format is given")
    listed = [(name, layers.child(name)) for name in layers.config]
    formats = ((name, None if own is None else _vptq(own)) for name, own in listed)
    named = by_name(formats, layers.path[:-1])
    return Scheme(
        "vptq", None, None, patterns(fields, "modules_to_not_convert"), head=True, named=named
    )


def _vptq(own: Fields) -> WeightFormat:
    if own.raw("outlier_size") not in (None, 0):
        raise own.refuse("outlier_size", "outliers cannot be sized")
    own.expect("is_indice_packed", True)
    groups, columns = own.integer("group_num"), own.integer("group_size")
    if own.integer("in_features", default=groups * columns) != groups * columns:
        raise own.refuse("group_size", f"{columns:,} x {groups} is not in_features")
    length, centroids = _second(own, "vector_lens"), _second(own, "num_centroids")
    residual = _second(own, "num_res_centroids", least=-1)
    bits = centroids.bit_length() - 1 + (residual.bit_length() - 1 if residual > 0 else 0)
    together = 32 // gcd(bits, 32)
    if columns % together:
        raise own.refuse("group_size", f"{columns:,} indices of {bits} bits fill no whole words")
    per_input = 2 * own.flag("enable_perm", default=True)
    per_input += 4 * own.flag("enable_norm", default=True)
    return WeightFormat(
        f"vptq_v{length}_k{centroids}_{max(residual, 0)}",
        f"VPTQ, {bits} bits per {length} weights, tables of {centroids:,} and {max(residual, 0):,}",
        together, together * bits // 8, block_rows=length, input_bytes=per_input,
        tensor_bytes=2 * groups * (centroids + max(residual, 0)) * length,
    )  # fmt: skip


def _second(own: Fields, name: str, least: int = 1) -> int:
    """Of a pair for outliers and for the rest, the latter; -1 says that there are no outliers."""
    pair = own.sequence(name, length=2) or [None, None]
    if pair[0] not in (None, -1, 0):
        raise own.refuse(name, f"{short(pair[0])}, of outliers, cannot be sized (only -1 can)")
    return Fields({name: pair[1]}, own.path).integer(name, least=least)


def read_higgs(fields: Fields) -> Scheme:
    """HIGGS: `bits` a weight of inputs padded to `hadamard_size`, and two tables a matrix."""
    bits = fields.integer("bits", default=4, least=2, most=4)
    hadamard = fields.integer("hadamard_size", default=512)
    group = fields.integer("group_size", default=256)
    fields.expect("group_size", 64, 128, 256)
    if hadamard % group:
        raise fields.refuse("group_size", f"{group} does not divide hadamard_size ({hadamard})")
    found = WeightFormat(
        f"higgs{bits}_g{group}", f"HIGGS {bits} bits, a 16-bit scale per {group}",
        8, bits, (1, group), 2, padded=(1, hadamard), tensor_bytes=2 * (2**bits + 2 * 4**bits),
    )  # fmt: skip
    ignore, head = converted(fields)
    return both("higgs", found, ignore, head=head)
