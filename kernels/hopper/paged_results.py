"""Where results of Hopper's paged decode go: to the output, or as pieces for others to join."""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.names import barrier


@gluon.jit
def normalised(acc, row_max, row_sum, out_scale):
    """Outputs and log-sum-exps of a row: parts of head_dim, [KV heads, query rows, 64]."""
    row_sum = gl.where(row_sum == 0.0, 1.0, row_sum)  # rows with nothing to attend to
    row_lse = (row_max + gl.log2(row_sum)) * 0.6931471805599453
    norm = (out_scale / row_sum)[:, :, None]
    results = ()
    for part in gl.static_range(len(acc)):
        result = acc[part] * norm
        results = results + (result,)  # type: ignore[assignment]
    return results, row_lse


@gluon.jit
def joined(
    acc, row_max, row_sum, out_scale, values, stats, HEADS: gl.constexpr, LAYOUT: gl.constexpr
):
    """The same where several warps have cuts of a head's keys; first all heads of the first cut.

    `values` and `stats` are shared memory: [parts, warps, query rows, 64], [2, warps, query rows].
    """
    CUTS: gl.constexpr = stats.shape[1] // HEADS
    COUNT: gl.constexpr = values.shape[2]
    WIDTH: gl.constexpr = values.shape[3]
    EACH: gl.constexpr = gl.SliceLayout(2, LAYOUT)
    barrier()  # the row before is read
    stats.index(0).store(row_max)
    stats.index(1).store(row_sum)
    for part in gl.static_range(len(acc)):
        values.index(part).store(first_rows(acc[part], COUNT))
    barrier()
    top = gl.full([HEADS, COUNT], -float("inf"), gl.float32, EACH)
    for cut in gl.static_range(CUTS):
        top = gl.maximum(top, _of_cut(stats.index(0), cut, HEADS, COUNT, EACH))
    shift = gl.where(top == -float("inf"), 0.0, top)
    total = gl.zeros([HEADS, COUNT], gl.float32, EACH)
    results = ()
    for part in gl.static_range(len(acc)):
        result = gl.zeros([HEADS, COUNT, WIDTH], gl.float32, LAYOUT)
        for cut in gl.static_range(CUTS):
            weight = gl.exp2(_of_cut(stats.index(0), cut, HEADS, COUNT, EACH) - shift)
            if part == 0:
                total += weight * _of_cut(stats.index(1), cut, HEADS, COUNT, EACH)
            some = values.index(part).slice(cut * HEADS, HEADS).load(LAYOUT)
            result += weight[:, :, None] * some
        results = results + (result,)  # type: ignore[assignment]
    return normalised(results, top, total, out_scale)


@gluon.jit
def _of_cut(
    stats, cut: gl.constexpr, HEADS: gl.constexpr, COUNT: gl.constexpr, LAYOUT: gl.constexpr
):
    return stats.slice(cut * HEADS, HEADS).slice(0, COUNT, 1).load(LAYOUT)


@gluon.jit
def first_rows(values, COUNT: gl.constexpr):
    """The first of the query rows, from [warps, query rows, 64]."""
    WARPS: gl.constexpr = values.shape[0]
    MANY: gl.constexpr = values.shape[1]
    WIDTH: gl.constexpr = values.shape[2]
    if COUNT < MANY:
        ROW: gl.constexpr = gl.SliceLayout(0, gl.SliceLayout(2, values.type.layout))
        row = gl.arange(0, MANY, ROW)[None, :][:, :, None]
        values = gl.where(row < COUNT, values, 0.0)
        values = gl.sum(values.reshape([WARPS, MANY // COUNT, COUNT, WIDTH]), 1)
    return values


@gluon.jit
def write(
    values, row_lse, out, lse, piece_out, piece_lse, row, piece, head_blocks,
    PAD: gl.constexpr, Q_TOKENS: gl.constexpr, GROUP: gl.constexpr, EACH: gl.constexpr,
):  # fmt: skip
    """A row's result, or a piece's: `values` are parts of head_dim, [KV heads, query rows, 64].

    EACH 2: they are its even and its odd columns.
    """
    HEADS: gl.constexpr = values[0].shape[0]
    if EACH == 2:
        both = gl.join(values[0], values[1])
        values = (both.reshape([HEADS, both.shape[1], 2 * both.shape[2]]),)
    WIDTH: gl.constexpr = values[0].shape[2]
    D: gl.constexpr = len(values) * WIDTH
    S: gl.constexpr = values[0].type.layout
    HEAD_ROWS: gl.constexpr = gl.SliceLayout(2, S)
    row_lse = gl.convert_layout(row_lse, HEAD_ROWS)
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
