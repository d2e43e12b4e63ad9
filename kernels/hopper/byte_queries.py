"""Queries of MLA decode over 8-bit latents, as two 8-bit numbers each in shared memory.

All are asked for at once: one after the other they would queue behind the first latents.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.mla_kept import query_row, query_rows, score_scale
from kernels.hopper.names import barrier, view
from kernels.packed_bytes import row_power

QUERIES = gl.constexpr(32)
PIECE = gl.constexpr(128)  # entries of a query that are one operand
PIECES = gl.constexpr(4)
LOADED = gl.constexpr(gl.BlockedLayout([1, 4], [2, 16], [4, 1], [1, 0]))
WHOLE = gl.constexpr(gl.NVMMASharedLayout(128, 16, 2))
WIDE = gl.constexpr(gl.NVMMASharedLayout(128, 8, 2))  # of a piece's parts
NARROW = gl.constexpr(gl.NVMMASharedLayout(64, 8, 2))  # of the rotated entries' parts


@gluon.jit
def _whole(parts, dtype: gl.constexpr):
    """The memory of a piece's parts as that of its entries of 16 bits.  # [QUERIES, entries]"""
    return view(parts, dtype, [QUERIES, parts.shape[1]], WHOLE)


@gluon.jit
def _entries(source, start, inside, WIDTH: gl.constexpr):
    """WIDTH entries of each query, zeros in rows past the last.  # [QUERIES, WIDTH]"""
    column = gl.arange(0, WIDTH, gl.SliceLayout(0, LOADED))
    mask = inside[:, None] & (column >= 0)[None, :]
    return gl.load(source + start[:, None] + column[None, :], mask=mask, other=0.0)


@gluon.jit
def _store_parts(target, values):
    """Both numbers of each entry. Of 16 rows, 8 are queries' first numbers, 8 their second."""
    WIDTH: gl.constexpr = values.shape[1]
    if target.dtype == gl.int8:
        whole = gl.floor(values + 0.5).to(gl.int32)
        first = (whole + 64) >> 7
        second = whole - first * 128
    else:
        first = values.to(target.dtype).to(gl.float32)
        second = values - first
    parts = gl.join(first, second).reshape([QUERIES // 8, 8, WIDTH, 2]).permute([0, 3, 1, 2])
    target.store(parts.reshape([2 * QUERIES, WIDTH]).to(target.dtype))


@gluon.jit
def load_queries(
    work, kept, seq, q_nope, q_rope, factors, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr,
    ROWS: gl.constexpr, dtype: gl.constexpr,
):  # fmt: skip
    """A sequence's queries into shared memory, and what to multiply the products of each by.

    Rows of fp8 are brought near 256 by a power of two: the numbers have less range than bf16.
    """
    row = query_row(work, ROWS, QUERIES, gl.SliceLayout(1, LOADED))
    inside = row < HEADS * Q_TOKENS
    token = (row // HEADS).to(gl.int64)
    head = (row % HEADS).to(gl.int64)
    nope_ptr, nope, rope_ptr, rope = query_rows(kept, seq, token, head, dtype)
    turned = _entries(rope_ptr, rope, inside, q_rope.shape[1])
    pieces = ()
    for place in gl.static_range(PIECES):
        piece = _entries(nope_ptr + place * PIECE, nope, inside, PIECE)
        pieces = pieces + (piece,)  # type: ignore[assignment]
    turned = turned.to(gl.float32)
    widest = gl.abs(pieces[0].to(gl.float32))  # type: ignore[misc]
    for place in gl.static_range(PIECES):
        widest = gl.maximum(widest, gl.abs(pieces[place].to(gl.float32)))
        _whole(q_nope.index(place), dtype).store(pieces[place])
    peak = gl.maximum(gl.max(widest, 1), gl.max(gl.abs(turned), 1))
    if q_rope.dtype == gl.int8:
        unit = gl.maximum(peak, 1e-30) * (1 / 16256)
    else:
        unit = row_power(peak) * 0.00390625
    factors.store(unit * score_scale(work))
    inverse = (1.0 / unit)[:, None]
    _store_parts(q_rope, turned * inverse)
    # Not unrolled, and so from memory: code that runs once takes longer to come than to run.
    for place in range(PIECES):
        held = _whole(q_nope.index(place), dtype).load(LOADED).to(gl.float32)
        barrier()
        _store_parts(q_nope.index(place), held * inverse)
