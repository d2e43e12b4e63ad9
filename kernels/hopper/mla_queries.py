"""The queries of Hopper's MLA decode in shared memory, 64 rows of them."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.mla_kept import query_row, query_rows, score_scale
from kernels.packed_bytes import row_power

ROWS = gl.constexpr(64)
HALF = gl.constexpr(256)  # of the rank, 512
ROPE = gl.constexpr(64)


@gluon.jit
def _query_piece(source, start, inside, WIDTH: gl.constexpr):
    """WIDTH entries of each row, zeros in rows past the last."""
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    column = gl.arange(0, WIDTH, gl.SliceLayout(0, LAYOUT))
    inside = inside[:, None] & (column >= 0)[None, :]
    return gl.load(source + start[:, None] + column[None, :], mask=inside, other=0.0)


@gluon.jit
def _divided(held, power, dtype: gl.constexpr):
    """Rows divided by their power and cast; as they are where they have that type already."""
    if held.dtype != dtype:
        held = (held.to(gl.float32) / power[:, None]).to(dtype)
    return held


@gluon.jit
def load_queries(
    work, kept, seq, q_nope, q_rope, seen, scales, seqlen, HEADS: gl.constexpr,
    Q_TOKENS: gl.constexpr, Q_TYPE: gl.constexpr,
):  # fmt: skip
    """64 rows of a sequence's queries into shared memory, zeros past the last.

    With them go what is needed too seldom to take up registers: how many keys a row sees, and what
    its scores are multiplied by. bf16 queries over widened latents become fp16, which has less
    range: rows are brought near 1 by a power of two.
    """
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    row = query_row(work, ROWS, ROWS, gl.SliceLayout(1, LAYOUT))
    inside = row < HEADS * Q_TOKENS
    token, head = (row // HEADS).to(gl.int64), (row % HEADS).to(gl.int64)
    nope_ptr, nope_row, rope_ptr, rope_row = query_rows(kept, seq, token, head, Q_TYPE)
    power = gl.full([ROWS], 1.0, gl.float32, gl.SliceLayout(1, LAYOUT))
    if q_rope.dtype != Q_TYPE:
        held = _query_piece(rope_ptr, rope_row, inside, ROPE).to(gl.float32)
        peak = gl.max(gl.abs(held), 1)
        for half in gl.static_range(2):
            held = _query_piece(nope_ptr + half * HALF, nope_row, inside, HALF).to(gl.float32)
            peak = gl.maximum(peak, gl.max(gl.abs(held), 1))
        power = row_power(peak)
    for half in gl.static_range(2):
        held = _query_piece(nope_ptr + half * HALF, nope_row, inside, HALF)
        q_nope.index(half).store(_divided(held, power, q_rope.dtype))
    held = _query_piece(rope_ptr, rope_row, inside, ROPE)
    q_rope.store(_divided(held, power, q_rope.dtype))
    seen.store(seqlen - Q_TOKENS + row // HEADS + 1)
    scales.store(power * score_scale(work))
