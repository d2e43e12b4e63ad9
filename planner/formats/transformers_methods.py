"""Methods of transformers' quantizers that have few fields: EETQ, BitNet, FP-Quant, SpQR, quanto.

Sources: transformers 5.24, integrations/eetq, bitnet and fp_quant and its configuration classes;
fp_quant 0.3.2, module/linear; spqr_quant 0.2.0, inference.QuantizedLinear. ExLlama's formats state
an average of bits that differ by matrix, and are refused (exllamav3 1.6.5, conversion/allocation).
"""

from planner.formats.quantization_scheme import Scheme, both, by_name, converted, patterns
from planner.formats.weight_formats import WHOLE, WeightFormat
from planner.hf_config.reader import Fields, short

SPQR_TENSORS = {"dense_weights": 8, "row_offsets": 4, "col_vals": 4, "in_perm": 4}
"""Bytes of an entry of each tensor that SpQR stores for a matrix."""
FP4_MATMUL = 10.0
"""Compute capability that QuTLASS, and vLLM's FPQuantConfig, ask for."""


def read_eetq(fields: Fields) -> Scheme:
    """EETQ: int8 and a float16 scale per output."""
    fields.expect("weights", "int8")
    found = WeightFormat("eetq_int8", "EETQ int8, a 16-bit scale per output", 1, 1, (1, WHOLE), 2)
    ignore, head = converted(fields)
    return both("eetq", found, ignore, head=head)


def read_bitnet(fields: Fields) -> Scheme:
    """BitNet: four ternary outputs a byte as `bitlinear`; `autobitlinear` computes on 16 bits.

    The latter's packed checkpoints are unpacked while loading, and only its offline ones have a
    scale. use_rms_norm adds a norm of the inputs to every matrix.
    """
    fields.expect("linear_class", "bitlinear", "autobitlinear")
    fields.expect("quantization_mode", "offline", "online")
    scale = 2
    if fields.text("linear_class", default="bitlinear") == "autobitlinear":
        scale = 2 if fields.text("quantization_mode", default="offline") == "offline" else 0
        name, how, block_bytes, tall = "bitnet_16bit", "unpacked to 16 bits while loading", 2, 1
    else:
        name, how, block_bytes, tall = "bitnet", "four to a byte", 1, 4
    norm = 2 if fields.flag("use_rms_norm", default=False) else 0
    found = WeightFormat(
        name, f"BitNet's ternary weights, {how}", 1, block_bytes,
        block_rows=tall, input_bytes=norm, tensor_bytes=scale,
    )  # fmt: skip
    ignore, head = converted(fields)
    return both("bitnet", found, ignore, head=head)


def read_fp_quant(fields: Fields) -> Scheme:
    """FP-Quant: MXFP4 or NVFP4 without its fp32 scale, and two rotations and scales a matrix.

    Rotations are hadamard_group_size square, in 16 bits. vLLM keeps one of the two, and one for
    matrices that it fuses: some kilobytes a layer less.
    """
    kind = fields.text("forward_dtype", default="nvfp4")
    fields.expect("forward_dtype", "nvfp4", "mxfp4")
    for name in ("store_master_weights", "pseudoquantization"):
        if fields.flag(name, default=False):
            raise fields.refuse(name, "keeps weights of 16 bits: name bf16 as the weights dtype")
    group = 16 if kind == "nvfp4" else 32
    side = fields.integer("hadamard_group_size", default=group)
    fields.expect("hadamard_group_size", *{group, 32, 64, 128})
    found = WeightFormat(
        f"{kind}_fp_quant", f"FP-Quant {kind}, a byte of scale per {group}, rotations of {side}",
        group, group // 2 + 1, tensor_bytes=2 * (1 + 1 + 2 * side**2), multiplied="fp4",
    )  # fmt: skip
    ignore, head = converted(fields)
    return both("fp_quant", found, ignore, head=head, capability=FP4_MATMUL, cuda_only=True)


def read_spqr(fields: Fields) -> Scheme:
    """SpQR: `shapes` has the length of every tensor, as outliers differ by matrix."""
    for name, only in (("bits", 3), ("beta1", 16), ("beta2", 16)):
        fields.expect(name, only)
    shapes = fields.child("shapes")
    if shapes is None or not shapes.config:
        raise fields.refuse("shapes", "is missing, and the outliers' number is not known")
    tensors: dict[str, dict[str, int]] = {}
    for name in shapes.config:
        module, _, tensor = name.removesuffix(".shape").rpartition(".")
        if tensor not in SPQR_TENSORS:
            raise shapes.refuse(name, "is not a tensor of SpQR")
        size = SPQR_TENSORS[tensor] * shapes.integer(name, least=0)
        tensors.setdefault(module, {})[tensor] = size
    for module, sizes in tensors.items():
        for tensor in SPQR_TENSORS:
            if tensor not in sizes:
                raise shapes.refuse(f"{module}.{tensor}.shape", "is missing")
    formats = ((module, _spqr(sum(sizes.values()))) for module, sizes in tensors.items())
    named = by_name(formats, shapes.path[:-1])
    return Scheme(
        "spqr", None, None, patterns(fields, "modules_to_not_convert"), head=True, named=named
    )


def _spqr(size: int) -> WeightFormat:
    return WeightFormat("spqr", "SpQR, 3 bits and sparse outliers", 1, 0, tensor_bytes=size)


def read_quanto(fields: Fields) -> Scheme:
    """quanto: 8 bits and a scale per output."""
    fields.expect("weights", "int8", "float8")
    fields.expect("activations")
    kind = fields.text("weights", default="int8")
    row = WeightFormat(
        f"quanto_{kind}", f"quanto {kind}, a 16-bit scale per output", 1, 1, (1, WHOLE), 2
    )
    ignore, head = converted(fields)
    return both("quanto", row, ignore, head=head)


def refuse_exllama(fields: Fields) -> Scheme:
    """EXL2 and EXL3 state an average over matrices of different bits."""
    raise fields.refuse(
        "bits",
        f"{short(fields.raw('bits'))} is an average over matrices of different bits, which only "
        "the files state: name a GGUF type or int4 of a similar size as the weights dtype",
    )
