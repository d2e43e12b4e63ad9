"""Paged decode's equal shares: which tiles of which sequences a program reads, from the lengths.

A row is one sequence's block of KV heads; its tiles of keys are numbered on from row to row. Of all
tiles each program gets a run of as many, however long each sequence is: it ends one row, passes
over whole ones and begins another. The host knows no lengths, so programs work this out themselves.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

MANY = gl.constexpr(256)  # lengths looked at together


@gluon.jit
def tiles_of(
    lengths,
    seq,
    batch,
    max_blocks,
    left,
    TILE: gl.constexpr,
    BLOCK_SIZE: gl.constexpr,
    Q_TOKENS: gl.constexpr,
):
    """A sequence's length, the first tile its queries see, and how many from there on."""
    seqlen = gl.load(lengths + seq, mask=seq < batch, other=0)
    seqlen = gl.minimum(gl.maximum(seqlen, 0), max_blocks * BLOCK_SIZE)
    first = seqlen * 0
    if left is not None:
        first = gl.maximum(seqlen - Q_TOKENS - left, 0) // TILE
    return seqlen, first, gl.cdiv(seqlen, TILE) - first


@gluon.jit
def _many():
    return gl.arange(0, MANY, gl.BlockedLayout([MANY // 32], [32], [gl.num_warps()], [0]))


@gluon.jit
def count_tiles(
    lengths, batch, head_blocks, max_blocks, left, seq,
    TILE: gl.constexpr, BLOCK_SIZE: gl.constexpr, Q_TOKENS: gl.constexpr,
):  # fmt: skip
    """Tiles of all rows, and of the rows of the sequences before `seq`, if one is given."""
    total = 0
    before = 0
    for start in range(0, batch, MANY):
        place = start + _many()
        _, _, tiles = tiles_of(lengths, place, batch, max_blocks, left, TILE, BLOCK_SIZE, Q_TOKENS)
        total += gl.sum(tiles, 0)
        if seq is not None:
            before += gl.sum(gl.where(place < seq, tiles, 0), 0)
    return total * head_blocks, before * head_blocks


@gluon.jit
def working(programs, total):
    """Programs that get a tile: the others have nothing to do."""
    return gl.minimum(programs, gl.maximum(total, 1))


@gluon.jit
def share(program, programs, total):
    """The first tile of a program's share; the last one's ends at `total`."""
    at_work = working(programs, total)
    return gl.minimum(program, at_work) * total // at_work


@gluon.jit
def program_of(tile, programs, total):
    """Whose share a tile is in."""
    return ((tile + 1) * working(programs, total) - 1) // gl.maximum(total, 1)


@gluon.jit
def _add(first, second):
    return first + second


@gluon.jit
def find(
    tile, lengths, batch, head_blocks, max_blocks, left,
    TILE: gl.constexpr, BLOCK_SIZE: gl.constexpr, Q_TOKENS: gl.constexpr,
):  # fmt: skip
    """The sequence a tile is in, and the tiles before that sequence's."""
    seq = 0
    before = 0
    counted = 0
    for start in range(0, batch, MANY):
        place = start + _many()
        _, _, tiles = tiles_of(lengths, place, batch, max_blocks, left, TILE, BLOCK_SIZE, Q_TOKENS)
        upto = gl.associative_scan(tiles, 0, _add) * head_blocks + counted
        passed = (upto <= tile) & (place < batch)
        seq += gl.sum(passed.to(gl.int32), 0)
        before = gl.maximum(before, gl.max(gl.where(passed, upto, 0), 0))
        counted = gl.max(upto, 0)
    return seq, before
