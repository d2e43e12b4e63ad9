"""Joins the pieces of the rows that were in several programs' equal shares.

It is launched while that kernel runs, and finds out from the lengths what there will be to join;
then it waits for it.
"""

import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.paged_work import all_tiles, count_tiles, find, program_of, share, tiles_of


@gluon.jit
def _split_row(
    lengths, programs, batch, head_blocks, max_blocks, left,
    BY_ROW: gl.constexpr, MOST: gl.constexpr, TILE: gl.constexpr, Q_TOKENS: gl.constexpr,
    BLOCK_SIZE: gl.constexpr,
):  # fmt: skip
    """A row, the program that begins it, and in how many pieces it is; 1 for nothing to do.

    There are no more of them than rows, and no more than ends of shares: the shorter list is gone
    through.
    """
    every = all_tiles(lengths, batch, max_blocks, left, MOST, TILE, BLOCK_SIZE, Q_TOKENS)
    if BY_ROW:
        row = gl.program_id(0)
        seq = row // head_blocks
        total, before = count_tiles(every, head_blocks, seq)
        _, _, tiles = tiles_of(lengths, seq, batch, max_blocks, left, TILE, BLOCK_SIZE, Q_TOKENS)
        row_begin = before + row % head_blocks * tiles
        first = program_of(row_begin, programs, total)
        mine = tiles > 0
    else:
        total, _ = count_tiles(every, head_blocks, 0)
        first = gl.program_id(0)
        end = share(first + 1, programs, total)
        seq, before = find(end, every, batch, head_blocks)
        _, _, tiles = tiles_of(lengths, seq, batch, max_blocks, left, TILE, BLOCK_SIZE, Q_TOKENS)
        block = (end - before) // gl.maximum(tiles, 1)
        row = seq * head_blocks + block
        row_begin = before + block * tiles
        mine = (row_begin < end) & (row_begin >= share(first, programs, total)) & (seq < batch)
    pieces = program_of(row_begin + tiles - 1, programs, total) - first + 1
    return row, first, gl.where(mine, pieces, 1)


@gluon.jit
def wait():
    """For the kernel before this one to end; what it wrote is there then."""
    gl.inline_asm_elementwise(
        "griddepcontrol.wait; mov.b32 $0, 0;", "=r", [], dtype=gl.int32, is_pure=False, pack=1
    )


@triton.constexpr_function
def lanes_of(width, warps):
    """Layout of [query rows, pieces, columns]: four columns to a lane."""
    lanes = width // 4
    return gl.BlockedLayout([1, 1, 4], [1, 32 // lanes, lanes], [warps, 1, 1], [2, 1, 0])


@gluon.jit
def join_rows(
    piece_out, piece_lse, out, lse, first, pieces, spot, column, result, with_lse,
    ROWS: gl.constexpr, HEAD_DIM: gl.constexpr, PIECES: gl.constexpr, LAYOUT: gl.constexpr,
):  # fmt: skip
    """Query rows `spot` of the ROWS of a row, from the pieces that begin in share `first`.

    They go to `result` of out and, where asked for, of lse; PIECES are read at once.
    """
    PLACES: gl.constexpr = spot.shape[0]
    WIDTH: gl.constexpr = column.shape[0]
    EACH: gl.constexpr = gl.SliceLayout(2, LAYOUT)  # place and piece
    WIDE: gl.constexpr = gl.SliceLayout(1, LAYOUT)  # place and column
    top = gl.full([PLACES], -float("inf"), gl.float32, gl.SliceLayout(1, EACH))
    total = gl.zeros([PLACES], gl.float32, gl.SliceLayout(1, EACH))
    acc = gl.zeros([PLACES, WIDTH], gl.float32, WIDE)
    for start in range(0, pieces, PIECES):
        piece = start + gl.arange(0, PIECES, gl.SliceLayout(0, EACH))[None, :]
        # The first is the second one of its program's: the rest of a share.
        source = 2 * (first + piece) + (piece == 0).to(gl.int32)
        source = source * ROWS + spot[:, None]
        there = (piece < pieces) & (spot < ROWS)[:, None]
        part = gl.load(piece_lse + source, mask=there, other=-float("inf"))
        values = gl.load(
            piece_out + source[:, :, None] * HEAD_DIM + column[None, :][:, None, :],
            mask=there[:, :, None],
            other=0.0,
        )
        new_top = gl.maximum(top, gl.max(part, 1))
        shift = gl.where(new_top == -float("inf"), 0.0, new_top)
        weight = gl.exp2((part - shift[:, None]) * 1.4426950408889634)
        decay = gl.exp2((top - shift) * 1.4426950408889634)
        total = total * decay + gl.sum(weight, 1)
        decay = gl.convert_layout(decay, gl.SliceLayout(1, WIDE), assert_trivial=True)
        acc = acc * decay[:, None] + gl.sum(weight[:, :, None] * values, 1)
        top = new_top
    total = gl.where(total == 0.0, 1.0, total)
    gl.store(lse + result, top + gl.log(total), mask=(spot < ROWS) & with_lse)
    wanted = gl.convert_layout(spot < ROWS, gl.SliceLayout(1, WIDE), assert_trivial=True)[:, None]
    result = gl.convert_layout(result, gl.SliceLayout(1, WIDE), assert_trivial=True)[:, None]
    total = gl.convert_layout(total, gl.SliceLayout(1, WIDE), assert_trivial=True)[:, None]
    target = out + result * HEAD_DIM + column[None, :]
    gl.store(target, (acc / total).to(out.dtype.element_ty), mask=wanted & (column >= 0)[None, :])


@gluon.jit(do_not_specialize=["programs", "batch", "head_blocks", "max_blocks", "left"])
def hopper_paged_join(
    piece_out,  # [2 * programs, HEADS, Q_TOKENS * GROUP, HEAD_DIM] fp32
    piece_lse,  # [2 * programs, HEADS, Q_TOKENS * GROUP] fp32
    cache_seqlens,  # [batch] int32
    out,  # [batch * q_tokens * heads, HEAD_DIM]
    lse,  # [batch * q_tokens * heads] fp32
    left,
    programs,
    batch,
    head_blocks,
    max_blocks,
    BY_ROW: gl.constexpr,
    MOST: gl.constexpr,
    TILE: gl.constexpr,
    Q_TOKENS: gl.constexpr,
    GROUP: gl.constexpr,
    BLOCK_SIZE: gl.constexpr,
    HEADS: gl.constexpr,
    HEAD_DIM: gl.constexpr,
    PIECES: gl.constexpr,  # joined at once
    PLACES: gl.constexpr,  # query rows
):
    """Grid (rows or ends of shares, query rows of a block of KV heads / PLACES)."""
    LAYOUT: gl.constexpr = lanes_of(HEAD_DIM, gl.num_warps())
    VALID: gl.constexpr = Q_TOKENS * GROUP
    row, first, pieces = _split_row(
        cache_seqlens, programs, batch, head_blocks, max_blocks, left, BY_ROW, MOST, TILE,
        Q_TOKENS, BLOCK_SIZE,
    )  # fmt: skip
    if pieces > 1:
        SPOTS: gl.constexpr = gl.SliceLayout(1, gl.SliceLayout(2, LAYOUT))
        spot = gl.program_id(1) * PLACES + gl.arange(0, PLACES, SPOTS)
        column = gl.arange(0, HEAD_DIM, gl.SliceLayout(0, gl.SliceLayout(1, LAYOUT)))
        head = spot // VALID
        place = spot % VALID
        q_head = (row % head_blocks * HEADS + head) * GROUP + place % GROUP
        result = row // head_blocks * Q_TOKENS + place // GROUP
        result = result.to(gl.int64) * (head_blocks * HEADS * GROUP) + q_head
        wait()
        join_rows(
            piece_out, piece_lse, out, lse, first, pieces, spot, column, result, True,
            HEADS * VALID, HEAD_DIM, PIECES, LAYOUT,
        )  # fmt: skip
    elif gl.program_id(0) + gl.program_id(1) == 0:
        wait()  # the next kernel must not begin before the first one's end
