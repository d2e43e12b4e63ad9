"""Host side of the Hopper MLA decode: what it can take, and its launch.

Needs compute capability 9.0 and a Triton whose Gluon has Hopper's warp-group MMA, TMA and mbarriers
(3.6 or newer); nothing of Gluon is imported before both are known.
"""

import math
from dataclasses import replace
from functools import cache
from typing import Any

import torch
import triton.language as tl

from kernels import checks
from kernels.decode_checks import QUANTISED
from kernels.decode_tiles import DecodeTile
from kernels.hopper.mla_pieces import Pieces
from kernels.launcher import Launcher, checked_descriptor
from kernels.packed_bytes import as_words, packing

KEYS = 64  # of a tile
MOST_TILES = 2**31 - 1  # times the shares, counted in 32 bits
MOST_SEQUENCES = 256  # in equal shares: a program has all their lengths in shared memory
Boxes = tuple[tuple[list[int], list[int], list[int]], ...]

RANK, ROPE = 512, 64
# 64 rows of queries; over 8-bit latents also 16 or 32. Stages are tiles in the ring.
_TILE = DecodeTile(block_m=64, block_n=64, num_warps=16, num_stages=2, programs_per_sm=1)
_BYTE_TILES = {rows: replace(_TILE, block_m=rows, num_stages=4) for rows in (16, 32)}


@cache
def _gluon_kernels() -> tuple[Any, Any] | None:
    """The kernels of 64 rows and of fewer, or None where Gluon lacks something they use."""
    try:
        from kernels.hopper.mla_byte_kernel import hopper_mla_byte_kernel
        from kernels.hopper.mla_kernel import hopper_mla_kernel
    except (ImportError, AttributeError):
        return None
    return hopper_mla_kernel, hopper_mla_byte_kernel


def supports(q_nope: torch.Tensor, q_rope: torch.Tensor, latent_cache: torch.Tensor) -> bool:
    """Whether `Plan` takes these checked inputs; the portable kernel takes everything.

    q_nope: [batch, q_tokens, heads, rank]. It takes rank 512 and rope 64, queries of fp16 or bf16
    over a cache of the same or of 8 bits (fp16 from 17 query rows), all aligned to 16 bytes, any
    block size: pages pass in parts of gcd(block_size, 64) keys.
    """
    rows = q_nope.shape[1] * q_nope.shape[2]
    return (
        latent_cache.is_cuda
        and checks.capability(latent_cache.device) == 90
        and (q_nope.shape[-1], q_rope.shape[-1]) == (RANK, ROPE)
        and q_nope.dtype != torch.float32
        and tile(rows, q_nope.dtype, latent_cache.dtype) is not None
        and all(map(checks.tma_aligned, (q_nope, q_rope, latent_cache)))
        and _gluon_kernels() is not None
    )


def tile(rows: int, queries: torch.dtype, cache: torch.dtype) -> DecodeTile | None:
    """Tile for `rows` query rows, heads times new tokens; None where the portable one is used."""
    if cache == queries or (rows > 32 and cache in QUANTISED):
        return _TILE
    if cache not in QUANTISED:
        return None
    if queries == torch.float16:  # two 8-bit numbers hold less
        return _TILE if rows > 16 else None
    return _BYTE_TILES[16 if rows <= 16 else 32]


def constexprs(
    queries: torch.dtype,
    cache: torch.dtype,
    batch: int | None,
    q_tokens: int,
    heads: int,
    block_size: int,
    overlap_launch: bool,
) -> dict[str, Any]:
    """The kernel's compile-time arguments, for a launch or an ahead-of-time compile.

    `batch`: how many sequences are shared out equally, or None for splits of each.
    """
    constants: dict[str, Any] = {
        "Q_TOKENS": q_tokens,
        "HEADS": heads,
        "BLOCK_SIZE": block_size,
        "OVERLAP_LAUNCH": overlap_launch,
        "MOST": most(batch) if batch else 1,
    }
    chosen = tile(heads * q_tokens, queries, cache)
    assert chosen is not None
    constants["PACKED"] = packing(cache, tl.float16)
    if chosen.block_m < 64:
        constants |= {
            "ROWS": chosen.block_m,
            "STAGES": chosen.num_stages,
        }
    return constants


def most(batch: int) -> int:
    """Sequences that a program looks at together."""
    return max(32, 1 << (batch - 1).bit_length())


def shares(
    batch: int, row_blocks: int, max_blocks: int, block_size: int, multiprocessors: int
) -> int | None:
    """Equal shares of all sequences, each read by `row_blocks` programs; None: splits of each."""
    count = multiprocessors // row_blocks
    tiles = batch * (max_blocks * block_size // KEYS + 8) + 8 * count  # with what starts count as
    worth = 1 < batch <= MOST_SEQUENCES and count > 1 and tiles <= MOST_TILES // count
    return count if worth else None


def boxes(latent_cache: torch.Tensor, constants: dict[str, Any]) -> Boxes:
    """Shape, strides and block of the kernel's two TMA descriptors, of the rank and of rope.

    A block is tokens of one page, and half of the rank's columns; 16 tokens and all columns where
    the latents are to be widened. 8-bit caches are given as 16-bit words.
    """
    blocks, tokens, width = latent_cache.shape
    widened = "ROWS" not in constants and constants["PACKED"] != "none"
    # The stride of a dimension of one element is arbitrary; TMA wants it to be a multiple of 16.
    strides = [latent_cache.stride(0) if blocks > 1 else tokens * width, latent_cache.stride(1), 1]
    part = math.gcd(tokens, 16 if widened else 64)
    rope = width * ROPE // (RANK + ROPE)
    rank = (width - rope) // (1 if widened else 2)
    return tuple(([blocks, tokens, width], strides, [1, part, columns]) for columns in (rank, rope))


class Plan:
    """A launch of the Gluon kernel on inputs that `supports` accepted: all but the addresses.

    `grid` has blocks of query rows, then splits and sequences, or shares where `batch` is given.
    """

    def __init__(
        self,
        queries: torch.dtype,
        latent_cache: torch.Tensor,
        block_table: torch.Tensor,
        strides: tuple[int, ...],
        grid: tuple[int, int, int],
        constants: dict[str, Any],
    ) -> None:
        kernels = _gluon_kernels()
        assert kernels is not None
        words = as_words("latent_cache", latent_cache)
        batch, max_blocks = block_table.shape
        shared = constants["MOST"] > 1
        self._boxes = [(*box, layout(box[2][2])) for box in boxes(words, constants)]
        splits = grid[1] // batch if shared else grid[1]
        self._sizes = (batch, splits, max_blocks, *strides, block_table.stride(0))
        kind = (latent_cache.device, queries, latent_cache.dtype, grid[1] > 1, self._sizes)
        self._launch = Launcher(kernels["ROWS" in constants], grid, constants, kind)
        self._pieces: Pieces | None = None
        if shared:
            rows = constants["Q_TOKENS"] * constants["HEADS"]
            self._pieces = Pieces(batch, rows, RANK, grid[1], latent_cache.device, queries)

    def run(
        self,
        q_nope: torch.Tensor,
        q_rope: torch.Tensor,
        latent_cache: torch.Tensor,
        block_table: torch.Tensor,
        cache_seqlens: torch.Tensor,
        latent_scale: torch.Tensor | None,
        out: torch.Tensor,
        lse: torch.Tensor,
        score_scale: float,
        out_scale: float,
    ) -> None:
        """Write `out` and `lse`: partial results where there are several splits."""
        words = as_words("latent_cache", latent_cache)
        descriptors = (checked_descriptor()(words, *box) for box in self._boxes)
        buffers = self._pieces.buffers(out.device) if self._pieces else None
        results = (out, lse, *(buffers or (None, None, None)))
        pointers = (q_nope, q_rope, block_table, cache_seqlens, latent_scale, *results)
        self._launch(
            (
                q_nope, q_rope, *descriptors, block_table, cache_seqlens, latent_scale, *results,
                score_scale, out_scale, *self._sizes,
            ),
            pointers,
        )  # fmt: skip
        if self._pieces and buffers:
            self._pieces.join(buffers, out, lse)


@cache
def layout(columns: int) -> Any:
    """Shared layout of a part of a page: rows of 128 bytes, or of 32 words, swizzled."""
    from triton.experimental.gluon.language import NVMMASharedLayout

    return NVMMASharedLayout(min(128, 2 * columns), 16, 3)
