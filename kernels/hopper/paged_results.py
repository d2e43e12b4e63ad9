"""Where results of Hopper's paged decode go: to the output, or as pieces for others to join."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def write(
    values, row_lse, out, lse, piece_out, piece_lse, row, piece, head_blocks,
    PAD: gl.constexpr, Q_TOKENS: gl.constexpr, GROUP: gl.constexpr,
):  # fmt: skip
    """A row's result, or a piece's: `values` are parts of head_dim, [KV heads, query rows, 64]."""
    HEADS: gl.constexpr = values[0].shape[0]
    WIDTH: gl.constexpr = values[0].shape[2]
    D: gl.constexpr = len(values) * WIDTH
    S: gl.constexpr = values[0].type.layout
    HEAD_ROWS: gl.constexpr = gl.SliceLayout(2, S)
    head = gl.arange(0, HEADS, gl.SliceLayout(1, HEAD_ROWS))[:, None]
    place = gl.arange(0, values[0].shape[1], gl.SliceLayout(0, HEAD_ROWS))[None, :]
    column = gl.arange(0, WIDTH, gl.SliceLayout(0, gl.SliceLayout(1, S)))[None, :][:, None, :]
    token = place // PAD
    member = place % PAD
    wanted = (token < Q_TOKENS) & (member < GROUP) & (head >= 0)
    if piece < 0:
        q_head = (row % head_blocks * HEADS + head) * GROUP + member
        result = row // head_blocks * Q_TOKENS + token
        result = result.to(gl.int64) * (head_blocks * HEADS * GROUP) + q_head
        gl.store(lse + result, row_lse, mask=wanted)
        target = out + result[:, :, None] * D + column
        for part in gl.static_range(len(values)):
            final = values[part].to(out.dtype.element_ty)
            gl.store(target + part * WIDTH, final, mask=wanted[:, :, None])
    else:
        source = (piece * HEADS + head) * (Q_TOKENS * GROUP) + token * GROUP + member
        gl.store(piece_lse + source, row_lse, mask=wanted)
        goal = piece_out + source[:, :, None] * D + column
        for part in gl.static_range(len(values)):
            gl.store(goal + part * WIDTH, values[part], mask=wanted[:, :, None])


@gluon.jit
def first_rows(values, COUNT: gl.constexpr):
    """The first of the query rows of each KV head, from [KV heads, query rows, 64]."""
    HEADS: gl.constexpr = values.shape[0]
    MANY: gl.constexpr = values.shape[1]
    WIDTH: gl.constexpr = values.shape[2]
    if COUNT < MANY:
        ROW: gl.constexpr = gl.SliceLayout(0, gl.SliceLayout(2, values.type.layout))
        row = gl.arange(0, MANY, ROW)[None, :][:, :, None]
        values = gl.where(row < COUNT, values, 0.0)
        values = gl.sum(values.reshape([HEADS, MANY // COUNT, COUNT, WIDTH]), 1)
    return values
