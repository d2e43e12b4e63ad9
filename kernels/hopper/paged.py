"""Host side of the Hopper paged decode: what it can take, and its two launches.

Needs compute capability 9.0 and a Triton whose Gluon has Hopper's TMA and mbarriers (3.6 or newer);
nothing of Gluon is imported before both are known.
"""

import math
from functools import cache
from typing import Any

import torch

from kernels import checks
from kernels.launcher import Launcher, checked_descriptor
from kernels.packed_bytes import as_words, compute_dtype, packing

WARPS = 8  # each with a KV head of a block of up to as many, or with a cut of its keys
ROWS, BOX, WIDTH = 16, 16, 64  # query rows of a KV head; keys and columns that TMA brings at once
SLOT_BYTES = 2**15  # keys or values of a tile
RING_BYTES = 3 * SLOT_BYTES
MOST_BOXES = 16  # of a tile: the producer holds their pages
KEPT_BYTES = 5 * 2**14  # for results of a share that wait for its end
JOIN_WARPS = 4
JOINED_VALUES = 32  # that a thread of the joining kernel holds
REGISTERS = {64: 104, 128: 128}  # of a thread at launch: the joining kernel finds room beside it
# Where it is chosen (benchmarks/NOTES.md); the tiles times the programs are counted in 32 bits.
FEWEST_ROWS = 16
MOST_ROWS = 5  # a program: above, whole sequences even out by themselves
FEWEST_KEYS = 256  # a program, of 16 bits, were every sequence as long as the table is wide
MOST_TILES = 2**31 - 1
MOST_PAGES = 2**25 - 1  # the producer sorts by number and place in 32 bits


@cache
def _gluon_kernels() -> tuple[Any, Any] | None:
    """The kernel and the one that joins its pieces, or None where Gluon lacks what they use."""
    try:
        from kernels.hopper.paged_join import hopper_paged_join
        from kernels.hopper.paged_kernel import hopper_paged_kernel
    except (ImportError, AttributeError):
        return None
    return hopper_paged_kernel, hopper_paged_join


def heads(kv_heads: int) -> int:
    """KV heads of a block."""
    return math.gcd(kv_heads, WARPS)


def registers(head_dim: int, cache: torch.dtype) -> int:
    """Of a thread at launch."""
    return REGISTERS[head_dim] + 8 * (cache.itemsize == 1)


def padded(group: int) -> int:
    """Query heads of a KV head, filled up to a power of two."""
    return 1 << (group - 1).bit_length()


def supports(
    query: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    max_blocks: int,
    programs: int,
) -> bool:
    """Whether `Plan` takes these checked inputs and is worth it; the portable kernel takes all.

    query: [batch, q_tokens, heads, head_dim], fp16 or bf16 like the caches, or these of 8 bits;
    head_dim 64 or 128 of keys and values, up to 16 query rows of a KV head.
    """
    batch, q_tokens, q_heads, head_dim = query.shape
    pages, block_size, kv_heads, _ = k_cache.shape
    rows = batch * (kv_heads // heads(kv_heads))
    tiles = batch * kv_heads * max_blocks * block_size // (WARPS * BOX)
    return (
        k_cache.is_cuda
        and checks.capability(k_cache.device) == 90
        and (query.dtype == k_cache.dtype or k_cache.element_size() == 1)
        and query.dtype != torch.float32
        and head_dim in (64, 128)
        and v_cache.shape == k_cache.shape
        and q_tokens * padded(q_heads // kv_heads) <= ROWS
        and FEWEST_ROWS <= rows <= MOST_ROWS * programs
        and programs * FEWEST_KEYS // BOX <= tiles * k_cache.element_size() // 2
        and tiles < MOST_TILES // programs
        and pages <= MOST_PAGES
        and all(map(checks.tma_aligned, (query, k_cache, v_cache)))
        and _gluon_kernels() is not None
    )


def constexprs(
    batch: int,
    q_tokens: int,
    kv_heads: int,
    group: int,
    head_dim: int,
    block_size: int,
    query: torch.dtype,
    cache: torch.dtype,
) -> dict[str, Any]:
    """The kernel's compile-time arguments, for a launch or an ahead-of-time compile."""
    held = heads(kv_heads)
    count = 1 << (q_tokens * padded(group) - 1).bit_length()
    row = count * head_dim * 4  # bytes of a KV head
    words = head_dim * cache.itemsize // 2
    slice_bytes = WARPS * BOX * words * 2
    boxes = min(SLOT_BYTES // slice_bytes, MOST_BOXES * held // WARPS)
    cuts = WARPS * row if held < WARPS else 0
    return {
        "MOST": max(32, 1 << (batch - 1).bit_length()),
        "Q_TOKENS": q_tokens,
        "GROUP": group,
        "BLOCK_SIZE": block_size,
        "SLOTS": RING_BYTES // (slice_bytes * boxes),
        "BOXES": boxes,
        "Q_PARTS": head_dim // WIDTH,
        "PARTS": max(1, words // WIDTH),
        "KEPT": max(1, min(MOST_ROWS, (KEPT_BYTES - cuts) // (held * row))),
        "COUNT": count,
        "PACKED": packing(cache, compute_dtype(query, cache)),
    }


def join_constexprs(
    constants: dict[str, Any], kv_heads: int, rows: int, programs: int
) -> dict[str, Any]:
    """The same of the joining kernel; a row is expected in programs / rows pieces, and two ends."""
    expected = programs // rows + 2
    pieces = min(16, 1 << (expected - 1).bit_length())
    head_dim = constants["Q_PARTS"] * WIDTH
    block = heads(kv_heads)
    places = block * constants["Q_TOKENS"] * constants["GROUP"]
    held = JOINED_VALUES * 32 * JOIN_WARPS // (pieces * head_dim)
    return {
        "BY_ROW": rows < programs,
        "MOST": constants["MOST"],
        "TILE": constants["BOXES"] * BOX * WARPS // block,
        **{name: constants[name] for name in ("Q_TOKENS", "GROUP", "BLOCK_SIZE")},
        "HEADS": block,
        "HEAD_DIM": head_dim,
        "PIECES": pieces,
        "PLACES": min(places & -places, max(JOIN_WARPS, held)),
    }


def query_box(query: torch.Tensor, kv_heads: int) -> tuple[list[int], list[int], list[int]]:
    """Shape, strides and block of the queries' descriptor: 16 rows of each KV head of a block.

    Rows are new tokens, each with its group filled up to a power of two: what lies outside the
    tensor arrives as zeros.
    """
    batch, q_tokens, q_heads, head_dim = query.shape
    group = q_heads // kv_heads
    pad = padded(group)
    step, token_step, head_step = query.stride()[:3]
    extents = [batch, kv_heads, q_tokens, group]
    steps = _steps(extents, [step, group * head_step, token_step, head_step])
    return [*extents, head_dim], [*steps, 1], [1, heads(kv_heads), ROWS // pad, pad, WIDTH]


def cache_box(pages: torch.Tensor) -> tuple[list[int], list[int], list[int]]:
    """The same of keys or values, of 16 bits or in words: 16 tokens of a page."""
    blocks, block_size, kv_heads, words = pages.shape
    step, token_step, head_step = pages.stride()[:3]
    steps = _steps([blocks, kv_heads, block_size], [step, head_step, token_step])
    block = [1, heads(kv_heads), BOX, min(WIDTH, words)]
    return [blocks, kv_heads, block_size, words], [*steps, 1], block


def _steps(extents: list[int], strides: list[int]) -> list[int]:
    """Strides as they are, but of one element: there anything may stand, and TMA wants 16s."""
    return [step if extent > 1 else 16 for extent, step in zip(extents, strides, strict=True)]


@cache
def layout(rank: int, width: int) -> Any:
    """Shared layout of a box: rows of `width` words, swizzled."""
    from triton.experimental.gluon.language import NVMMASharedLayout

    return NVMMASharedLayout(2 * width, 16, rank)


class Plan:
    """Launches on inputs that `supports` accepted: all but the addresses and the scales."""

    def __init__(
        self,
        query: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        block_table: torch.Tensor,
        left: int,
        programs: int,
    ) -> None:
        keys, values = as_words("k_cache", k_cache), as_words("v_cache", v_cache)
        kernels = _gluon_kernels()
        assert kernels is not None
        batch, q_tokens, q_heads, head_dim = query.shape
        _, block_size, kv_heads, _ = k_cache.shape
        group, blocks = q_heads // kv_heads, kv_heads // heads(kv_heads)
        rows = batch * blocks
        self._boxes = [
            (*box, layout(len(box[0]), box[2][-1]))
            for box in (query_box(query, kv_heads), cache_box(keys), cache_box(values))
        ]
        constants = constexprs(
            batch, q_tokens, kv_heads, group, head_dim, block_size, query.dtype, k_cache.dtype
        )
        results = heads(kv_heads) * q_tokens * group  # of a row
        self._pieces = 2 * programs * results, head_dim
        self._left = None if left < 0 else left
        self._sizes = batch, blocks, block_table.shape[1]
        self._table_step = block_table.stride(0)
        self._programs = programs
        kind = (
            query.device,
            query.dtype,
            left < 0,
            k_cache.dtype,
            self._table_step,
            *map(str, self._boxes),
        )
        self._launch = Launcher(
            kernels[0],
            (programs, 1, 1),
            constants,
            kind,
            num_warps=WARPS,
            maxnreg=registers(head_dim, k_cache.dtype),
        )
        join = join_constexprs(constants, kv_heads, rows, programs)
        self._join = Launcher(
            kernels[1],
            (min(rows, programs - 1), results // join["PLACES"], 1),
            join,
            kind[:3],
            num_warps=JOIN_WARPS,
            launch_pdl=True,
        )

    def run(
        self,
        query: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        block_table: torch.Tensor,
        cache_seqlens: torch.Tensor,
        out: torch.Tensor,
        lse: torch.Tensor,
        score_scale: float,
        out_scale: float,
        k_scale: torch.Tensor | None,
        v_scale: torch.Tensor | None,
    ) -> None:
        """Write `out` and `lse`. Scales of one element are read there, on top of the numbers."""
        rows, head_dim = self._pieces
        piece_out = torch.empty((rows, head_dim), device=out.device)
        piece_lse = torch.empty(rows, device=out.device)
        sources = query, as_words("k_cache", k_cache), as_words("v_cache", v_cache)
        descriptors = (
            checked_descriptor()(source, *box)
            for source, box in zip(sources, self._boxes, strict=True)
        )
        pointers = (block_table, cache_seqlens, out, lse, piece_out, piece_lse, k_scale, v_scale)
        self._launch(
            (
                *descriptors, *pointers, score_scale, out_scale, self._left, *self._sizes,
                self._table_step,
            ),
            pointers,
        )  # fmt: skip
        given = (piece_out, piece_lse, cache_seqlens, out, lse)
        self._join((*given, self._left, self._programs, *self._sizes), given)
