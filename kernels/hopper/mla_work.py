"""Which tiles of which sequences a program of Hopper's MLA decode reads.

Either one split of one sequence, or, whatever the lengths, an equal share of all tiles: the rest of
one sequence, whole ones, the beginning of another. The host knows no lengths, so a program finds
its share by itself, leaves it in shared memory, and each of its roles goes through it. Programs of
one share, side by side in the grid, have different rows of queries.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.mla_kept import COUNT, FIRST, LAST, PLAIN, SEQ, tell, told
from kernels.hopper.names import view
from kernels.hopper.paged_work import add, sequences, share

KEYS = gl.constexpr(64)  # of a tile
START = gl.constexpr(5)  # tiles that beginning a sequence costs, or ending in the middle of one


@gluon.jit
def ask(lengths, batch, num_splits, reach, MOST: gl.constexpr):
    """A program's own sequence, were all cut alike, its length, and all lengths.

    Lengths are at most `reach`, which the table holds. MOST: sequences, a power of two from 32; 1
    for a split of the sequence that the grid says.
    """
    own = gl.program_id(2)
    if MOST > 1:
        own = gl.program_id(1) // gl.maximum(num_splits, 1)
    own_length = gl.load(lengths + own, mask=own < batch, other=0)
    own_length = gl.minimum(gl.maximum(own_length, 0), reach)
    seqlen = own_length
    if MOST > 1:
        seq = sequences(0, MOST)
        seqlen = gl.load(lengths + seq, mask=seq < batch, other=0)
        seqlen = gl.minimum(gl.maximum(seqlen, 0), reach)
    return own, own_length, seqlen


@gluon.jit
def assign(asked, batch, num_splits, score_scale, out_scale, work, held):
    """Leave a program's share in `work` [NUMBERS, 1] and the lengths in `held` [MOST, 1].

    Shares are equal, each sequence counted as START tiles more than it has. Where that would not be
    shorter than `num_splits` parts of each sequence, these are the shares.
    """
    MOST: gl.constexpr = held.shape[0]
    own, own_length, seqlen = asked
    part = gl.program_id(1)
    own_tiles = gl.cdiv(own_length, KEYS)
    if MOST == 1:
        held.index(0).store(
            gl.full([1], seqlen, gl.int32, gl.BlockedLayout([1], [32], [gl.num_warps()], [0]))
        )
        count = gl.to_tensor(1)
        first = part * own_tiles // num_splits
        last = (part + 1) * own_tiles // num_splits
    else:
        view(held, gl.int32, [MOST], PLAIN).store(seqlen)
        parts = gl.num_programs(1)
        tiles = gl.cdiv(seqlen, KEYS)
        total = gl.sum(tiles, 0)
        longest = gl.max(tiles, 0)
        alike = longest * parts <= num_splits * (total + START * (batch + parts))
        if alike & (num_splits > 0):
            place = part - own * num_splits
            there = gl.maximum(gl.minimum(own_tiles, num_splits), 1)  # no part is empty
            count = ((own < batch) & (place < there)).to(gl.int32)
            first = place * own_tiles // there
            last = (place + 1) * own_tiles // there
        else:
            seq = sequences(0, MOST)
            begins = gl.associative_scan(tiles, 0, add) - tiles + START * (seq + 1)
            begin = share(part, parts, total + START * batch)
            end = share(part + 1, parts, total + START * batch)
            firsts = gl.maximum(begin - begins, 0)
            lasts = gl.minimum(end - begins, tiles)
            empty = (tiles == 0) & (begins > begin) & (begins <= end)
            mine = ((firsts < lasts) | empty) & (seq < batch)
            count = gl.sum(mine.to(gl.int32), 0)
            own = gl.min(gl.where(mine, seq, MOST), 0)
            first = gl.max(gl.where(seq == own, firsts, 0), 0)
            last = gl.max(gl.where(seq == own + count - 1, lasts, 0), 0)
    tell(
        work,
        (
            count, own, first, last, gl.program_id(0), gl.to_tensor(batch),
            score_scale.to(gl.int32, bitcast=True), out_scale.to(gl.int32, bitcast=True),
        ),
    )  # fmt: skip


@gluon.jit
def sequence_of(work, held, turn):
    """A share's sequence, its length, and the first and the end of the tiles to read of it."""
    seq = told(work.index(SEQ)) + turn
    seqlen = told(held.index(seq if held.shape[0] > 1 else 0))
    first = gl.where(turn == 0, told(work.index(FIRST)), 0)
    last = gl.cdiv(seqlen, KEYS)
    if turn + 1 == told(work.index(COUNT)):
        last = gl.minimum(last, told(work.index(LAST)))
    return seq, seqlen, first, last


@gluon.jit
def turns(work):
    """How many sequences a share has."""
    return told(work.index(COUNT))
