"""Which tiles of which sequences a program of Hopper's MLA decode reads, and where results go.

Either one split of one sequence, or, whatever the lengths, an equal share of all tiles (as in
`kernels.hopper.paged_work`): the rest of one sequence, whole ones, the beginning of another. The
host knows no lengths, so a program finds its share by itself, leaves it in shared memory, and each
of its roles goes through it. Programs of one share, side by side in the grid, have different rows
of queries.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.names import view
from kernels.hopper.paged_work import add, sequences, share

KEYS = gl.constexpr(64)  # of a tile
START = gl.constexpr(5)  # what beginning a sequence, or ending in the middle of one, costs in tiles
# What is left in shared memory, besides all lengths: how many sequences, the first of them, its
# first tile, the end of the last one's tiles, the program's block of query rows, how many sequences
# there are in all, and the bits of what scores and results are multiplied by.
COUNT, SEQ, FIRST, LAST, BLOCK, BATCH, SCORE_SCALE, OUT_SCALE = (gl.constexpr(i) for i in range(8))
NUMBERS = gl.constexpr(8)  # a power of two
PLAIN = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0]))
# Addresses and steps that a role needs once a sequence: in shared memory they take no registers.
NOPE, TURNED, LSE, PIECE_LSE, ENDS, TABLE, TABLE_STEP, STEPS = (gl.constexpr(i) for i in range(8))
KEPT = gl.constexpr(16)  # a power of two


@gluon.jit
def _tell(places, values):
    """Leave numbers in shared memory, together: one after the other they would wait in between."""
    MANY: gl.constexpr = places.shape[0]
    place = gl.arange(0, MANY, gl.BlockedLayout([1], [32], [gl.num_warps()], [0]))
    all_values = gl.full([MANY], 0, places.dtype, place.type.layout)
    for i in gl.static_range(len(values)):
        all_values = gl.where(place == i, values[i].to(places.dtype), all_values)
    view(places, places.dtype, [MANY], PLAIN).store(all_values)


@gluon.jit
def _told(place):
    return gl.max(place.load(gl.BlockedLayout([1], [32], [gl.num_warps()], [0])), 0)


@gluon.jit
def keep(kept, q_nope, q_rope, lse, piece_lse, ends, block_table, table_step, steps):
    """Leave them in `kept` [KEPT, 1] int64; `steps`: of q_nope and q_rope, three of each."""
    if piece_lse is None:
        piece_lse = lse
        ends = lse
    values = (q_nope, q_rope, lse, piece_lse, ends, block_table, gl.to_tensor(table_step))
    for place in gl.static_range(len(steps)):
        values = values + (gl.to_tensor(steps[place]),)  # type: ignore[assignment]
    _tell(kept, values)


@gluon.jit
def _address(kept, PLACE: gl.constexpr, dtype: gl.constexpr):
    return _told(kept.index(PLACE)).to(gl.pointer_type(dtype), bitcast=True)


@gluon.jit
def _query_rows(kept, seq, token, head, PLACE: gl.constexpr, STEP: gl.constexpr, dtype: gl.constexpr):
    source = _address(kept, PLACE, dtype) + seq * _told(kept.index(STEP))
    row = token * _told(kept.index(STEP + 1)) + head * _told(kept.index(STEP + 2))
    return gl.multiple_of(source, 16), gl.multiple_of(row, 8)


@gluon.jit
def query_rows(kept, seq, token, head, dtype: gl.constexpr):
    """A sequence's queries and where rows begin in them, rank and rope; aligned to 16 bytes."""
    nope, nope_row = _query_rows(kept, seq, token, head, NOPE, STEPS, dtype)
    turned, turned_row = _query_rows(kept, seq, token, head, TURNED, STEPS + 3, dtype)
    return nope, nope_row, turned, turned_row


@gluon.jit
def pages_of(kept, seq):
    """A sequence's part of the block table."""
    step = _told(kept.index(TABLE_STEP))
    return _address(kept, TABLE, gl.int32) + seq * step


@gluon.jit
def ask(lengths, batch, num_splits, reach, MOST: gl.constexpr):
    """The length of a program's own sequence, were all cut alike, and all lengths.

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

    Shares are equal where each sequence counts as START tiles more than it has. Where they would
    not be shorter, every sequence is in `num_splits` parts instead.
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
    _tell(
        work,
        (
            count, own, first, last, gl.program_id(0), gl.to_tensor(batch),
            score_scale.to(gl.int32, bitcast=True), out_scale.to(gl.int32, bitcast=True),
        ),
    )  # fmt: skip


@gluon.jit
def sequence_of(work, held, turn):
    """A share's sequence, its length, and the first and the end of the tiles to read of it."""
    seq = _told(work.index(SEQ)) + turn
    seqlen = _told(held.index(seq if held.shape[0] > 1 else 0))
    first = gl.where(turn == 0, _told(work.index(FIRST)), 0)
    last = gl.cdiv(seqlen, KEYS)
    if turn + 1 == _told(work.index(COUNT)):
        last = gl.minimum(last, _told(work.index(LAST)))
    return seq, seqlen, first, last


@gluon.jit
def turns(work):
    """How many sequences a share has."""
    return _told(work.index(COUNT))


@gluon.jit
def score_scale(work):
    return _told(work.index(SCORE_SCALE)).to(gl.float32, bitcast=True)


@gluon.jit
def out_scale(work):
    return _told(work.index(OUT_SCALE)).to(gl.float32, bitcast=True)


@gluon.jit
def query_row(work, ROWS: gl.constexpr, MANY: gl.constexpr, LAYOUT: gl.constexpr):
    """Numbers of query rows from a program's first on. Read anew for every sequence: whatever
    follows from them alone would else be kept in registers all through.
    """
    return _told(work.index(BLOCK)) * ROWS + gl.arange(0, MANY, LAYOUT)


@gluon.jit
def result_place(row, work, held, turn, SEQ_ROWS: gl.constexpr):
    """Where the result of a query row goes, and whether it is a piece's.

    Of splits, [sequence, row, split]. Of shares, [sequence, row], or where a sequence is in several
    of them [piece, row]: piece 2 * share, or one more where the sequence begins.
    """
    seq, seqlen, first, last = sequence_of(work, held, turn)
    if held.shape[0] == 1:
        place = (seq * SEQ_ROWS + row).to(gl.int64) * gl.num_programs(1) + gl.program_id(1)
        piece = first < 0
    else:
        piece = (first > 0) | (last * KEYS < seqlen)
        kept = 2 * gl.program_id(1) + (first == 0).to(gl.int32)
        place = (gl.where(piece, kept, seq) * SEQ_ROWS + row).to(gl.int64)
    return place, piece


@gluon.jit
def store_lse(lse, kept, row, work, held, turn, SEQ_ROWS: gl.constexpr):
    """The log-sum-exps of a sequence's query rows, or of a piece's; and which shares the sequence
    begins and ends in, where these are ours: the joining kernel has to know.
    """
    place, piece = result_place(row, work, held, turn, SEQ_ROWS)
    target = _address(kept, LSE, gl.float32)
    if held.shape[0] > 1:
        seq, seqlen, first, last = sequence_of(work, held, turn)
        end = _address(kept, ENDS, gl.int32) + seq
        gl.store(end, gl.program_id(1), mask=first == 0)
        gl.store(end + _told(work.index(BATCH)), gl.program_id(1), mask=last * KEYS >= seqlen)
        if piece:
            target = _address(kept, PIECE_LSE, gl.float32)
    gl.store(target + place, lse, mask=row < SEQ_ROWS)


@gluon.jit
def store_result(values, out, piece_out, place, column, piece, wanted):
    """Part of their results: [rows, columns], or turned over as `place` and `column` are."""
    if piece_out is None:
        gl.store(out + place + column, values.to(out.dtype.element_ty), mask=wanted)
    elif piece:
        gl.store(piece_out + place + column, values, mask=wanted)
    else:
        gl.store(out + place + column, values.to(out.dtype.element_ty), mask=wanted)
