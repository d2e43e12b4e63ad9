"""What the roles of Hopper's MLA decode need once a sequence, in shared memory.

Held in registers all through a sequence's tiles it would leave too few of them.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.names import view

PLAIN = gl.constexpr(gl.SwizzledSharedLayout(1, 1, 1, [0]))
# Of a share: how many sequences, the first of them, its first tile, the end of the last one's
# tiles; the program's block of query rows; how many sequences there are in all; and the bits of
# what scores and results are multiplied by.
COUNT, SEQ, FIRST, LAST, BLOCK, BATCH, SCORE_SCALE, OUT_SCALE = (gl.constexpr(i) for i in range(8))
NUMBERS = gl.constexpr(8)
# Addresses, and steps in entries: of the table, and of q_nope and q_rope from STEPS on, three each.
NOPE, TURNED, LSE, PIECE_LSE, ENDS, TABLE, TABLE_STEP, STEPS = (gl.constexpr(i) for i in range(8))
KEPT = gl.constexpr(16)  # a power of two


@gluon.jit
def tell(places, values):
    """Leave numbers in `places` [a power of two, 1], together: one by one they would wait for each
    other.
    """
    MANY: gl.constexpr = places.shape[0]
    place = gl.arange(0, MANY, gl.BlockedLayout([1], [32], [gl.num_warps()], [0]))
    numbers = gl.full([MANY], 0, places.dtype, place.type.layout)
    for i in gl.static_range(len(values)):
        numbers = gl.where(place == i, values[i].to(places.dtype), numbers)
    view(places, places.dtype, [MANY], PLAIN).store(numbers)


@gluon.jit
def told(place):
    return gl.max(place.load(gl.BlockedLayout([1], [32], [gl.num_warps()], [0])), 0)


@gluon.jit
def keep(kept, q_nope, q_rope, lse, piece_lse, ends, block_table, table_step, steps):
    """Leave addresses and steps in `kept` [KEPT, 1] int64."""
    if piece_lse is None:
        piece_lse = lse
        ends = lse
    values = (q_nope, q_rope, lse, piece_lse, ends, block_table, gl.to_tensor(table_step))
    for place in gl.static_range(len(steps)):
        values = values + (gl.to_tensor(steps[place]),)  # type: ignore[assignment]
    tell(kept, values)


@gluon.jit
def address(kept, PLACE: gl.constexpr, dtype: gl.constexpr):
    return told(kept.index(PLACE)).to(gl.pointer_type(dtype), bitcast=True)


@gluon.jit
def pages_of(kept, seq):
    """A sequence's row of the block table."""
    return address(kept, TABLE, gl.int32) + seq * told(kept.index(TABLE_STEP))


@gluon.jit
def query_rows(kept, seq, token, head, dtype: gl.constexpr):
    """A sequence's queries and where rows begin in them, rank and rope; aligned to 16 bytes."""
    nope, nope_row = _query_rows(kept, seq, token, head, NOPE, STEPS, dtype)
    turned, turned_row = _query_rows(kept, seq, token, head, TURNED, STEPS + 3, dtype)
    return nope, nope_row, turned, turned_row


@gluon.jit
def _query_rows(
    kept, seq, token, head, PLACE: gl.constexpr, STEP: gl.constexpr, dtype: gl.constexpr
):
    source = address(kept, PLACE, dtype) + seq * told(kept.index(STEP))
    row = token * told(kept.index(STEP + 1)) + head * told(kept.index(STEP + 2))
    return gl.multiple_of(source, 16), gl.multiple_of(row, 8)


@gluon.jit
def query_row(work, ROWS: gl.constexpr, MANY: gl.constexpr, LAYOUT: gl.constexpr):
    """Numbers of query rows from a program's first on. Read anew for every sequence: what follows
    from them alone would else be kept in registers all through.
    """
    return told(work.index(BLOCK)) * ROWS + gl.arange(0, MANY, LAYOUT)


@gluon.jit
def score_scale(work):
    return told(work.index(SCORE_SCALE)).to(gl.float32, bitcast=True)


@gluon.jit
def out_scale(work):
    return told(work.index(OUT_SCALE)).to(gl.float32, bitcast=True)
