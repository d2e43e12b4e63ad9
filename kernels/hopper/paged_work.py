"""Paged decode's equal shares: which tiles of which sequences a program reads, from the lengths.

A row is one sequence's block of KV heads; its tiles of keys are numbered on from row to row. Of all
tiles each program gets a run of as many, however long each sequence is: it ends one row, passes
over whole ones and begins another. The host knows no lengths, so programs work this out themselves.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


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
def unmasked(seqlen, left, TILE: gl.constexpr, Q_TOKENS: gl.constexpr):
    """The first and the end of the tiles that all queries see in full."""
    begin = seqlen * 0
    if left is not None:
        begin = gl.cdiv(gl.maximum(seqlen - 1 - left, 0), TILE)
    return begin, gl.maximum(seqlen - Q_TOKENS + 1, 0) // TILE


@gluon.jit
def sequences(start, MANY: gl.constexpr):
    layout: gl.constexpr = gl.BlockedLayout([MANY // 32], [32], [gl.num_warps()], [0])
    return start + gl.arange(0, MANY, layout)


@gluon.jit
def all_tiles(
    lengths, batch, max_blocks, left,
    MOST: gl.constexpr, TILE: gl.constexpr, BLOCK_SIZE: gl.constexpr, Q_TOKENS: gl.constexpr,
):  # fmt: skip
    """Tiles of every sequence, up to 256 together; MOST: `batch` as a power of two, at least 32."""
    MANY: gl.constexpr = min(MOST, 256)
    found = ()
    for start in gl.static_range(0, MOST, MANY):
        seq = sequences(start, MANY)
        _, _, tiles = tiles_of(lengths, seq, batch, max_blocks, left, TILE, BLOCK_SIZE, Q_TOKENS)
        found = found + (tiles,)  # type: ignore[assignment]
    return found


@gluon.jit
def count_tiles(tiles, head_blocks, seq):
    """Tiles of all rows, and of the rows of the sequences before `seq`, from `all_tiles`."""
    MANY: gl.constexpr = tiles[0].shape[0]
    total = 0
    before = 0
    for some in gl.static_range(len(tiles)):
        total += gl.sum(tiles[some], 0)
        earlier = sequences(some * MANY, MANY) < seq
        before += gl.sum(gl.where(earlier, tiles[some], 0), 0)
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
def add(first, second):
    return first + second


@gluon.jit
def find(tile, tiles, batch, head_blocks):
    """The sequence a tile is in, and the tiles before that sequence's."""
    MANY: gl.constexpr = tiles[0].shape[0]
    seq = 0
    before = 0
    counted = 0
    for some in gl.static_range(len(tiles)):
        upto = gl.associative_scan(tiles[some], 0, add) * head_blocks + counted
        passed = (upto <= tile) & (sequences(some * MANY, MANY) < batch)
        seq += gl.sum(passed.to(gl.int32), 0)
        before = gl.maximum(before, gl.max(gl.where(passed, upto, 0), 0))
        counted = gl.max(upto, 0)
    return seq, before
