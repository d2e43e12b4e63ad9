"""A decode kernel's launch as a case for ahead-of-time compilation."""

from collections.abc import Mapping
from typing import Any

import torch

from kernels.aot import Case
from kernels.decode_tiles import DecodeTile

TYPES = {
    torch.float32: "fp32",
    torch.bfloat16: "bf16",
    torch.float16: "fp16",
    torch.float8_e4m3fn: "fp8e4nv",
    torch.int8: "i8",
    torch.int16: "i16",
}
# Pointers come aligned to 16 bytes; the strides of a cache are multiples of 16 entries.
UNALIGNED = frozenset(
    (
        "window_left",
        "whole",
        "num_splits",
        "max_blocks",
        "num_blocks",
        "kv_heads",
        "num_slots",
        "batch",
        "head_blocks",
        "programs",
    )
)


def case_of(
    name: str,
    kernel: Any,
    pointers: Mapping[str, torch.dtype],
    constants: dict[str, Any],
    tile: DecodeTile,
    floats: tuple[str, ...] = (),
    integers: Mapping[str, str] | None = None,
) -> Case:
    """Arguments that are neither pointers, floats nor constants are 32-bit integers."""
    signature = {parameter.name: "i32" for parameter in kernel.params}
    signature |= {key: f"*{TYPES[dtype]}" for key, dtype in pointers.items()}
    signature |= dict.fromkeys(floats, "fp32") | dict(integers or {})
    signature = {key: kind for key, kind in signature.items() if key not in constants}
    return Case(name, kernel, signature, constants, tile.num_warps, tile.num_stages, UNALIGNED)
