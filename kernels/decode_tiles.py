"""Tiles and split counts of the decode kernels, found by benchmarks/attention_decode.py --search.

A decode step reads each key once, so the tile decides how many bytes are in flight and the split
count decides whether the card's one wave of programs is full. Both come from shapes alone.
"""

import functools
from dataclasses import dataclass

import torch

from kernels.tiles import arch_class, padded_head_dim


@dataclass(frozen=True)
class DecodeTile:
    """Keys per step, warps, pipeline stages, and programs that fit on one multiprocessor."""

    block_n: int
    num_warps: int
    num_stages: int
    programs_per_sm: int


# (architecture class, padded head_dim, bytes per cached element) -> tile.
# Class 90 was measured on an H200; 86 and 80 are sized by their shared memory and not measured.
_PAGED = {
    (90, 64, 2): DecodeTile(128, 4, 3, 4),
    (90, 128, 2): DecodeTile(64, 4, 3, 4),
    (90, 256, 2): DecodeTile(32, 4, 3, 3),
    (90, 64, 1): DecodeTile(128, 4, 3, 4),
    (90, 128, 1): DecodeTile(128, 4, 3, 4),
    (90, 256, 1): DecodeTile(64, 4, 3, 3),
    (80, 64, 2): DecodeTile(64, 4, 3, 4),
    (80, 128, 2): DecodeTile(64, 4, 3, 2),
    (80, 256, 2): DecodeTile(32, 4, 3, 2),
    (80, 64, 1): DecodeTile(64, 4, 3, 4),
    (80, 128, 1): DecodeTile(64, 4, 3, 4),
    (80, 256, 1): DecodeTile(32, 4, 3, 4),
    (86, 64, 2): DecodeTile(64, 4, 2, 3),
    (86, 128, 2): DecodeTile(32, 4, 2, 3),
    (86, 256, 2): DecodeTile(16, 4, 2, 3),
    (86, 64, 1): DecodeTile(64, 4, 2, 3),
    (86, 128, 1): DecodeTile(64, 4, 2, 3),
    (86, 256, 1): DecodeTile(32, 4, 2, 3),
}
_PAGED_FP32 = {64: DecodeTile(32, 4, 2, 2), 128: DecodeTile(32, 4, 2, 2)}
_PAGED_FP32 |= {256: DecodeTile(16, 4, 2, 2)}


def paged_tile(capability: int, head_dim: int, element_bytes: int) -> DecodeTile:
    """Tile of the paged decode kernel; `head_dim` is the larger of K's and V's."""
    padded = padded_head_dim(head_dim)
    if element_bytes == 4:
        return _PAGED_FP32[padded]
    return _PAGED[arch_class(capability), padded, element_bytes]


@functools.cache
def sm_count(device: torch.device) -> int:
    """Multiprocessors of the card; the interpreter pretends to have 4."""
    if device.type != "cuda":
        return 4
    return torch.cuda.get_device_properties(device).multi_processor_count


def split_count(programs: int, capacity_tokens: int, tile: DecodeTile, sms: int) -> int:
    """Splits that fill one wave of the card and no more, from shapes alone.

    `programs` is how many there are with one split. Rounding up would start a second, mostly
    empty wave; more splits than tiles in the longest possible sequence would do nothing.
    """
    fill = sms * tile.programs_per_sm // max(1, programs)
    tiles = -(-capacity_tokens // tile.block_n)
    return max(1, min(fill, tiles))
