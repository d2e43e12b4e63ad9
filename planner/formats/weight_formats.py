"""Number formats of weights: what one stored tensor takes, scales and padding included.

    BF16.bytes((4096, 4096))             # 33554432
    int4(128).bytes((4096, 4096))        # 8716288

A format is the same small object whatever it stores: blocks of elements along the last axis in a
fixed number of bytes, and scales per block of rows and columns. A tensor-parallel shard is just a
smaller shape. Sources: vLLM 0.33.0 (parameters its methods create and keep after repacking),
gguf 0.19.0 (GGML_QUANT_SIZES), bitsandbytes 0.49 (block sizes and lookup tables).
"""

from dataclasses import dataclass
from typing import Literal

from planner.errors import PlanRefused
from planner.units import ceil_div, round_up

WHOLE = 0
"""As a block size: one scale for the whole axis."""


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """Storage of a matrix (out_features, in_features), or of a stack of them.

    block elements along the last axis, of block_rows rows at once, take block_bytes; a part block
    takes a whole one, or is refused where exact_blocks says so (GGUF). One scale of scale_bytes and
    one zero point of zero_bits (packed into int32 along the outputs) serve scale_block rows x
    columns. flat: blocks run through the flattened tensor (bitsandbytes), and second_block scales
    share one fp32 scale of their own. input_bytes are kept per input (group index), tensor_bytes
    per matrix. Rows and columns are first padded to multiples of `padded`, rows and columns of
    scales to those of scale_tile; a matrix whose rows and columns are no multiples of `only` is
    left alone. multiplied: the numbers that inputs are quantised to, and multiplied in where a card
    has them; empty where weights alone are quantised.
    """

    name: str
    description: str
    block: int
    block_bytes: int
    scale_block: tuple[int, int] = (WHOLE, WHOLE)
    scale_bytes: int = 0
    zero_bits: int = 0
    input_bytes: int = 0
    tensor_bytes: int = 0
    flat: bool = False
    second_block: int = 0
    exact_blocks: bool = False
    block_rows: int = 1
    padded: tuple[int, int] = (1, 1)
    only: tuple[int, int] = (1, 1)
    scale_tile: tuple[int, int] = (1, 1)
    multiplied: Literal["", "fp8", "fp4", "int8"] = ""

    def takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a matrix of this shape is stored so, and not left alone."""
        return all(size % each == 0 for size, each in zip(shape[-2:], self.only, strict=True))

    def bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of one tensor of this shape: its elements, scales, zero points and padding.

        Raises PlanRefused where a GGUF type's blocks do not divide the last axis.
        """
        columns = shape[-1]
        rows = shape[-2] if len(shape) > 1 else 1
        matrices = 1
        for size in shape[:-2]:
            matrices *= size
        if self.flat:
            rows, columns = 1, rows * columns
        if self.exact_blocks and columns % self.block:
            raise PlanRefused(
                f"{self.name} stores rows in blocks of {self.block}, which does not divide "
                f"{columns}: choose q8_0, or an unquantised format"
            )
        rows, columns = round_up(rows, self.padded[0]), round_up(columns, self.padded[1])
        blocks = ceil_div(rows, self.block_rows) * ceil_div(columns, self.block)
        found = blocks * self.block_bytes + self.tensor_bytes
        if self.scale_bytes:
            tall, wide = self.scale_block
            across = ceil_div(columns, wide) if wide else 1
            down = ceil_div(rows, tall) if tall else 1
            scales = round_up(down, self.scale_tile[0]) * round_up(across, self.scale_tile[1])
            found += scales * self.scale_bytes
            if self.second_block:
                found += 4 * ceil_div(scales, self.second_block)
            if self.zero_bits:
                found += across * ceil_div(rows * self.zero_bits, 32) * 4
        return matrices * (found + self.input_bytes * columns)

    @property
    def bits_per_weight(self) -> float:
        """Bits of one weight of a large matrix (8192 x 8192), scales included."""
        return 8 * self.bytes((8192, 8192)) / 8192**2


FP32 = WeightFormat("fp32", "32-bit floats", 1, 4)
BF16 = WeightFormat("bf16", "bfloat16", 1, 2)
FP16 = WeightFormat("fp16", "16-bit floats", 1, 2)
UNQUANTISED = {"float32": FP32, "bfloat16": BF16, "float16": FP16}
"""By torch's name of the model's dtype."""

INT8_BITSANDBYTES = WeightFormat(
    "int8_bnb", "LLM.int8(), an fp32 scale per output", 1, 1, (1, WHOLE), 4, multiplied="int8"
)
MXFP4 = WeightFormat(
    "mxfp4", "4-bit floats, a power-of-two scale per 32", 32, 17, multiplied="fp4"
)  # fmt: skip
MXFP8 = WeightFormat(
    "mxfp8", "8-bit floats, a power-of-two scale per 32", 32, 33, multiplied="fp8"
)  # fmt: skip


def fp8(*, static_inputs: bool = False) -> WeightFormat:
    """8-bit floats with one fp32 scale per matrix, and one for its inputs if they are static."""
    return WeightFormat(
        "fp8", "8-bit floats, one scale per matrix", 1, 1,
        tensor_bytes=8 if static_inputs else 4, multiplied="fp8",
    )  # fmt: skip


def fp8_per_channel() -> WeightFormat:
    """8-bit floats with an fp32 scale per output."""
    return WeightFormat(
        "fp8_per_channel", "8-bit floats, an fp32 scale per output", 1, 1, (1, WHOLE), 4,
        multiplied="fp8",
    )  # fmt: skip


def fp8_block(rows: int = 128, columns: int = 128, scale_bytes: int = 4) -> WeightFormat:
    """8-bit floats with a scale per block of rows x columns (DeepSeek: 128 x 128, fp32)."""
    return WeightFormat(
        "fp8_block", f"8-bit floats, a scale per {rows} x {columns}", 1, 1,
        (rows, columns), scale_bytes, multiplied="fp8",
    )  # fmt: skip


def int8(*, static_inputs: bool = False, per_tensor: bool = False) -> WeightFormat:
    """8-bit integers with an fp32 scale per output, or one per matrix."""
    scale = (WHOLE, WHOLE) if per_tensor else (1, WHOLE)
    where = "matrix" if per_tensor else "output"
    return WeightFormat(
        "int8", f"8-bit integers, an fp32 scale per {where}", 1, 1, scale, 4,
        tensor_bytes=4 if static_inputs else 0, multiplied="int8",
    )  # fmt: skip


def integer(
    bits: int,
    group_size: int | None = 128,
    *,
    symmetric: bool = False,
    group_index: bool = False,
    scale_bytes: int = 2,
) -> WeightFormat:
    """Packed integers with a 16-bit scale per output and group of inputs (AWQ, GPTQ).

    group_size None: one group over all inputs. Zero points take `bits` each and are not kept when
    symmetric. group_index (activation order): inputs carry their group and their rank, int32 each.
    Raises PlanRefused for other widths.
    """
    if bits not in (2, 3, 4, 5, 6, 8):
        raise PlanRefused(
            f"{bits}-bit integers are not a weight format; choose 2, 3, 4, 5, 6 or 8 bits"
        )
    group = WHOLE if group_size is None else group_size
    block, block_bytes = (32 // bits, 4) if 32 % bits == 0 else (32, 4 * bits)
    name = f"int{bits}_g{group_size}" if group_size else f"int{bits}_channel"
    groups = f"group of {group_size}" if group_size else "output"
    return WeightFormat(
        name, f"{bits}-bit integers, a scale{'' if symmetric else ' and zero point'} per {groups}",
        block, block_bytes, (1, group), scale_bytes,
        zero_bits=0 if symmetric else bits,
        input_bytes=8 if group_index else 0,
    )  # fmt: skip


def int4(group_size: int | None = 128, *, symmetric: bool = False) -> WeightFormat:
    """4-bit integers in groups: 4 + 16/g + 4/g bits, without the last term when symmetric."""
    return integer(4, group_size, symmetric=symmetric)


def nvfp4(*, static_inputs: bool = True) -> WeightFormat:
    """4-bit floats, an fp8 scale per 16, an fp32 scale per matrix (and one for its inputs)."""
    return WeightFormat(
        "nvfp4", "4-bit floats, an fp8 scale per 16", 16, 9,
        tensor_bytes=8 if static_inputs else 4, multiplied="fp4",
    )  # fmt: skip


def nf4(*, double_quant: bool = False, block: int = 64, kind: str = "nf4") -> WeightFormat:
    """bitsandbytes 4-bit: an fp32 maximum per 64 elements, itself 8-bit when double_quant.

    The lookup table (16 fp32; 256 more and an offset for the maxima) is counted per matrix.
    """
    name, how = (f"{kind}_double", " in 8 bits") if double_quant else (kind, "")
    return WeightFormat(
        name, f"4-bit lookup, a maximum{how} per {block}", 2, 1,
        (1, block), 1 if double_quant else 4,
        tensor_bytes=64 + 1024 + 4 if double_quant else 64,
        flat=True, second_block=256 if double_quant else 0,
    )  # fmt: skip


_GGML_QUANT_SIZES = {
    "q4_0": (32, 18), "q4_1": (32, 20), "q5_0": (32, 22), "q5_1": (32, 24), "q8_0": (32, 34),
    "q2_k": (256, 84), "q3_k": (256, 110), "q4_k": (256, 144),
    "q5_k": (256, 176), "q6_k": (256, 210), "iq1_s": (256, 50),
    "iq1_m": (256, 56), "iq2_xxs": (256, 66), "iq2_xs": (256, 74), "iq2_s": (256, 82),
    "iq3_xxs": (256, 98), "iq3_s": (256, 110), "iq4_xs": (256, 136), "iq4_nl": (32, 18),
    "tq1_0": (256, 54), "tq2_0": (256, 66),
}  # fmt: skip

GGUF = {
    name: WeightFormat(name, f"GGUF blocks of {n} in {size} B", n, size, exact_blocks=True)
    for name, (n, size) in _GGML_QUANT_SIZES.items()
}
"""GGUF tensor types of weights. File types such as Q4_K_M mix them: planner.formats.gguf_mixes."""

NAMED = {
    "fp32": FP32, "bf16": BF16, "fp16": FP16,
    "fp8": fp8(), "fp8_per_channel": fp8_per_channel(), "fp8_block": fp8_block(),
    "int8": int8(), "int8_bnb": INT8_BITSANDBYTES, "int4": int4(128),
    "int3": integer(3), "int2": integer(2, 64),
    "mxfp4": MXFP4, "mxfp8": MXFP8, "nvfp4": nvfp4(),
    "nf4": nf4(), "nf4_double": nf4(double_quant=True), "fp4": nf4(kind="fp4"),
    **GGUF,
}  # fmt: skip
"""The formats a person can ask for by name, in the form that is usual for each."""

ALIASES = {
    "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "f16": "fp16", "float32": "fp32",
    "float": "fp32", "f32": "fp32", "fp8_e4m3": "fp8", "w8a8": "int8", "awq": "int4",
    "gptq": "int4", "int4_g128": "int4",
}  # fmt: skip


def weight_format(name: str) -> WeightFormat:
    """The format of that name. Raises PlanRefused for a name that is none."""
    key = name.lower()
    found = NAMED.get(ALIASES.get(key, key))
    if found is None:
        raise PlanRefused(
            f"{name!r} is not a weight format; choose auto, a GGUF file type such as q4_k_m, "
            f"or one of {', '.join(NAMED)}"
        )
    return found
