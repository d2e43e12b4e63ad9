"""Tiles and split counts of the decode kernels.

The tiles are from benchmarks/find_decode_tiles.py, the rule for splits is fitted to tables such as
benchmarks/find_decode_splits.py prints.

A decode step reads each key once, so the tile decides how many bytes are in flight and the split
count whether the card is busy to the end. Both come from shapes alone.
"""

import functools
from dataclasses import dataclass, replace

import torch

from kernels.tiles import arch_class, padded_head_dim


@dataclass(frozen=True)
class DecodeTile:
    """Query rows of a KV head, keys per step, warps, pipeline stages, programs that fit on one
    multiprocessor, and KV heads that one program works on."""

    block_m: int
    block_n: int
    num_warps: int
    num_stages: int
    programs_per_sm: int
    kv_heads: int = 1


# (architecture class, padded head_dim, bytes per cached element) -> tile for up to 16 query rows.
# Class 90 was measured on an H200; 86 and 80 are sized by their shared memory and not measured.
_PAGED = {
    (90, 64, 2): DecodeTile(16, 64, 4, 4, 4),
    (90, 128, 2): DecodeTile(16, 32, 4, 3, 3),
    (90, 256, 2): DecodeTile(16, 32, 2, 3, 2),
    (90, 64, 1): DecodeTile(16, 64, 1, 3, 4),
    (90, 128, 1): DecodeTile(16, 64, 1, 3, 4),
    (90, 256, 1): DecodeTile(16, 64, 4, 3, 2),
    (80, 64, 2): DecodeTile(16, 64, 4, 3, 4),
    (80, 128, 2): DecodeTile(16, 32, 2, 3, 4),
    (80, 256, 2): DecodeTile(16, 16, 2, 3, 4),
    (80, 64, 1): DecodeTile(16, 64, 1, 3, 4),
    (80, 128, 1): DecodeTile(16, 64, 1, 3, 4),
    (80, 256, 1): DecodeTile(16, 32, 4, 3, 2),
    (86, 64, 2): DecodeTile(16, 64, 4, 2, 3),
    (86, 128, 2): DecodeTile(16, 32, 2, 2, 3),
    (86, 256, 2): DecodeTile(16, 16, 2, 2, 3),
    (86, 64, 1): DecodeTile(16, 64, 1, 2, 3),
    (86, 128, 1): DecodeTile(16, 64, 1, 2, 3),
    (86, 256, 1): DecodeTile(16, 32, 4, 2, 3),
}
# The same by the KV heads to each multiprocessor: (from how many, tiles), most first. Several KV
# heads, each in a warp of its own, read neighbouring bytes together. Of several tiles it is the one
# whose last round of programs leaves the least over.
_PAGED_BY_LOAD = {
    (90, 64, 2): ((3.0, (DecodeTile(16, 64, 2, 3, 2, kv_heads=2),)),),
    (90, 128, 2): (
        (
            1.9,
            (
                DecodeTile(16, 32, 4, 3, 1, kv_heads=4),
                DecodeTile(16, 32, 2, 2, 6),
                DecodeTile(16, 64, 2, 3, 1, kv_heads=2),
            ),
        ),
        (1.0, (DecodeTile(16, 32, 2, 2, 6),)),
        (0.1, (_PAGED[90, 128, 2],)),
        (0.0, (DecodeTile(16, 64, 2, 3, 1, kv_heads=2),)),
    ),
    (90, 128, 1): ((3.0, (DecodeTile(16, 64, 2, 3, 2, kv_heads=2),)),),
}
NEARLY = 0.85  # of a round: from here on it counts as full
_PAGED_FP32 = DecodeTile(16, 16, 8, 2, 2)

# (architecture class, query rows, bytes per cached element) -> tile, for rank 512.
_MLA = {
    (90, 16, 2): DecodeTile(16, 16, 2, 3, 4),
    (90, 32, 2): DecodeTile(32, 64, 8, 3, 1),
    (90, 64, 2): DecodeTile(64, 64, 8, 2, 1),
    (90, 16, 1): DecodeTile(16, 64, 4, 3, 2),
    (90, 32, 1): DecodeTile(32, 64, 8, 2, 1),
    (80, 16, 2): DecodeTile(16, 32, 4, 2, 2),
    (80, 32, 2): DecodeTile(32, 32, 8, 2, 1),
    (80, 16, 1): DecodeTile(16, 32, 4, 2, 2),
    (80, 32, 1): DecodeTile(32, 32, 8, 2, 1),
    (86, 16, 2): DecodeTile(16, 16, 4, 2, 1),
    (86, 32, 2): DecodeTile(32, 16, 4, 2, 1),
    (86, 16, 1): DecodeTile(16, 32, 4, 2, 1),
    (86, 32, 1): DecodeTile(32, 16, 4, 2, 1),
}
_MLA_FP32 = DecodeTile(16, 16, 4, 1, 1)


def tiles_by_load(
    capability: int, rows: int, head_dim: int, element_bytes: int, kv_heads: int
) -> list[tuple[float, list[DecodeTile]]]:
    """Tiles of paged decode: (from how many KV heads a multiprocessor, tiles), most first.

    `rows` is the query heads of a KV head times the new tokens; `head_dim` the larger of K's and
    V's; `element_bytes` the cache's. The last entry is for any load.
    """
    if element_bytes == 4:
        return [(0.0, [_PAGED_FP32])]
    key = (arch_class(capability), padded_head_dim(head_dim), element_bytes)
    tile = _PAGED[key]
    # Blackwell shares the class, but has not run these, and the 8-bit one spills in its loop there.
    by_load = _PAGED_BY_LOAD.get(key, ()) if capability < 100 else ()
    fitting = [
        (enough, [t for t in tiles if rows <= t.block_m and kv_heads % t.kv_heads == 0])
        for enough, tiles in by_load
    ]
    if rows > tile.block_m:
        # 8-bit caches stop at 32 rows: from 64 Triton 3.6 takes Hopper's wgmma, and the unpacked
        # operands then fault on an H200.
        if element_bytes == 1:
            tile = replace(tile, block_m=32, block_n=32, num_warps=4)
        elif rows <= 32:
            tile = replace(tile, block_m=32, num_warps=4)
        else:
            tile = replace(tile, block_m=64, num_warps=8)
    return [(enough, tiles) for enough, tiles in fitting if tiles] + [(0.0, [tile])]


def paged_tile(
    capability: int,
    rows: int,
    head_dim: int,
    element_bytes: int,
    kv_heads: int = 1,
    sequences: int = 1,
    sms: int = 132,
) -> DecodeTile:
    """The tile for `sequences` on `sms` multiprocessors; the rest as in `tiles_by_load`."""
    by_load = tiles_by_load(capability, rows, head_dim, element_bytes, kv_heads)
    tiles = next(tiles for enough, tiles in by_load if sequences * kv_heads >= enough * sms)
    return min(tiles, key=lambda tile: _left_over(tile, kv_heads, sequences, sms))


def _left_over(tile: DecodeTile, kv_heads: int, sequences: int, sms: int) -> float:
    """Share of the work in the last round of programs, where that is not nearly full."""
    programs, places = sequences * kv_heads // tile.kv_heads, sms * tile.programs_per_sm
    rest = programs % places
    return 0.0 if rest >= NEARLY * places else rest / max(1, programs)


def mla_tile(capability: int, rows: int, element_bytes: int) -> DecodeTile:
    """Tile of the MLA decode kernel; `rows` is heads times the new tokens."""
    if element_bytes == 4:
        return _MLA_FP32
    held = arch_class(capability)
    wide = 16 if rows <= 16 else 32
    if rows > 32 and (held, 64, element_bytes) in _MLA and capability < 100:
        wide = 64
    return _MLA[held, wide, element_bytes]


@functools.cache
def sm_count(device: torch.device) -> int:
    """Multiprocessors of the card; the interpreter pretends to have 4."""
    if device.type != "cuda":
        return 4
    return torch.cuda.get_device_properties(device).multi_processor_count


# What starting a program takes, of the time that the whole call needs at full bandwidth; and the
# time of a round of one program alone, of a full round's: it has the bandwidth to itself, so it
# runs faster, up to what its multiprocessor can take where it has that to itself. Fitted to 49
# batches (benchmarks/NOTES.md has how well).
START = 0.006
ALONE = 0.2
ALONE_ON_SM = 0.5
JOIN = 0.01  # what a second kernel takes, of a call that fills the card at least once


def _alone(tile: DecodeTile) -> float:
    return ALONE_ON_SM if tile.programs_per_sm == 1 else ALONE


def split_count(
    programs: int, capacity_tokens: int, tile: DecodeTile, sms: int, alone: float | None = None
) -> int:
    """Splits that keep the card busiest, from shapes alone.

    `programs` is how many there are with one split. Programs run in rounds of as many as the card
    holds; the last is seldom full. More splits make a round shorter and its rest smaller, but every
    program has to be started. Of equal longest shares of the tiles, the fewest splits. `alone` is
    the time of a round of one program, 1 where programs are bound by what they compute.
    """
    places = sms * tile.programs_per_sm
    lone = _alone(tile) if alone is None else alone

    def time(splits: int) -> float:
        rounds, rest = divmod(programs * splits, places)
        taken = rounds + (lone + (1 - lone) * rest / places if rest else 0.0)
        return taken * (places / (programs * splits) + START)

    programs = max(1, programs)
    tiles = max(1, -(-capacity_tokens // tile.block_n))
    best = min(range(1, min(max(places // programs, 8), tiles) + 1), key=time)
    longest = -(-tiles // best)
    return -(-tiles // longest)


def whole_sequences(sequences: int, programs: int, tile: DecodeTile, sms: int) -> int:
    """How many sequences of `programs` programs each to leave whole, the others to be split.

    As many as fill the card's rounds; the rest would leave one nearly empty. All of them where
    that would cost less than joining splits does.
    """
    places = sms * tile.programs_per_sm
    programs = max(1, programs)
    rounds, rest = divmod(sequences * programs, places)
    if rounds and _alone(tile) * (places - rest) / (sequences * programs) < JOIN:
        return sequences
    return rounds * places // programs
