"""Two 8-bit cache entries read as one 16-bit word, and taken apart in registers.

Tensor cores want 16-bit operands moved by `ldmatrix`, which cannot transpose bytes. Read as int16,
an 8-bit cache takes the same path as a bf16 one (16-byte copies, `ldmatrix`), and each word then
yields an even and an odd entry: two products of half the width instead of one.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from kernels.checks import interpreted

_KINDS = {torch.float8_e4m3fn: "fp8", torch.int8: "int8"}

# One register holds two words, bytes 0 to 3; the even entries are bytes 0 and 2.
_FP8_TO_FP16 = tl.constexpr("""{
    .reg .b32 pairs; .reg .b16 even, odd;
    prmt.b32 pairs, $2, 0, 0x3120; mov.b32 {even, odd}, pairs;
    cvt.rn.f16x2.e4m3x2 $0, even; cvt.rn.f16x2.e4m3x2 $1, odd;
}""")
# The same, bytes 0 and 1, then 2 and 3.
_FP8_NEIGHBOURS = tl.constexpr("""{
    .reg .b16 low, high; mov.b32 {low, high}, $2;
    cvt.rn.f16x2.e4m3x2 $0, low; cvt.rn.f16x2.e4m3x2 $1, high;
}""")
# An int8 plus 128, placed in the low mantissa bits of 1024.0, is 1152 too large.
_INT8_TO_FP16 = tl.constexpr("""{
    .reg .b32 biased, offset; mov.b32 offset, 0x64806480;
    xor.b32 biased, $2, 0x80808080;
    prmt.b32 $0, biased, 0x64646464, 0x4240; sub.rn.f16x2 $0, $0, offset;
    prmt.b32 $1, biased, 0x64646464, 0x4341; sub.rn.f16x2 $1, $1, offset;
}""")

_INT8_NEIGHBOURS = tl.constexpr("""{
    .reg .b32 biased, offset; mov.b32 offset, 0x64806480;
    xor.b32 biased, $2, 0x80808080;
    prmt.b32 $0, biased, 0x64646464, 0x4140; sub.rn.f16x2 $0, $0, offset;
    prmt.b32 $1, biased, 0x64646464, 0x4342; sub.rn.f16x2 $1, $1, offset;
}""")


@triton.jit
def _decode_byte(byte, FP8: tl.constexpr, COMPUTE: tl.constexpr):
    if FP8:
        return byte.to(tl.uint8).to(tl.float8e4nv, bitcast=True).to(COMPUTE)
    return byte.to(tl.int8).to(COMPUTE)


@triton.jit
def _apart(words, ASSEMBLY: tl.constexpr, REGISTERS: tl.constexpr):
    """What assembly makes of the two words in a register, in two tensors of their shape."""
    return tl.inline_asm_elementwise(
        ASSEMBLY, REGISTERS, [words], dtype=(tl.float16, tl.float16), is_pure=True, pack=2
    )


@triton.jit
def unpack_bytes(words, PACKED: tl.constexpr, COMPUTE: tl.constexpr):
    """int16 words to two tensors of their shape, the entries in the low and in the high bytes."""
    if PACKED == "fp8_ptx":
        return _apart(words, _FP8_TO_FP16, "=r,=r,r")
    if PACKED == "int8_ptx":
        return _apart(words, _INT8_TO_FP16, "=&r,=&r,r")
    even = _decode_byte(words & 0xFF, PACKED == "fp8", COMPUTE)
    odd = _decode_byte((words >> 8) & 0xFF, PACKED == "fp8", COMPUTE)
    return even, odd


@triton.jit
def neighbours(words, PACKED: tl.constexpr):
    """Pairs of words in one register to fp16: both entries of the first, both of the second.

    With words 2i and 2i + 1 in a register, entries 4i and 4i + 1, and 4i + 2 and 4i + 3. For fp8 it
    needs fewer instructions than `unpack_bytes`, and fits where entries are summed over.
    """
    if PACKED == "fp8_ptx":
        return _apart(words, _FP8_NEIGHBOURS, "=r,=r,r")
    return _apart(words, _INT8_NEIGHBOURS, "=&r,=&r,r")


@triton.jit
def row_power(peak):
    """The power of two next above rows' largest entries, for fp16 has less range than bf16."""
    exponent = tl.ceil(tl.log2(tl.where(peak > 0, peak, 1.0)))
    return tl.exp2(tl.minimum(tl.maximum(exponent, -100.0), 127.0))


def compute_dtype(q: torch.dtype, cache: torch.dtype) -> Any:
    """What the tensor cores multiply in: fp16 holds every fp8 e4m3 and int8 value exactly."""
    if q == torch.float32:
        return tl.float32
    if q == torch.float16 or cache in _KINDS:
        return tl.float16
    return tl.bfloat16


def packing(cache: torch.dtype, compute: Any) -> str:
    """How the kernel reads a cache of this dtype; "none" for 16 and 32 bit caches.

    Inline assembly yields fp16 only and the interpreter has none; both then take the plain way.
    """
    kind = _KINDS.get(cache)
    if kind is None:
        return "none"
    return kind if interpreted() or compute != tl.float16 else kind + "_ptx"


def as_words(name: str, cache: torch.Tensor) -> torch.Tensor:
    """An 8-bit cache as int16, its last dimension halved; other caches as they are."""
    if cache.dtype not in _KINDS:
        return cache
    if any(stride % 2 for stride in cache.stride()[:-1]):
        raise ValueError(f"every stride of {name} but the last must be even, not {cache.stride()}")
    return cache.view(torch.int16)
