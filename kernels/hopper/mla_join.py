"""Joins the pieces of sequences that were in several shares of Hopper's MLA decode.

No multiprocessor has room for it while that kernel runs, so it is told what there is to join.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.paged_join import join_rows, lanes_of, wait


@gluon.jit
def hopper_mla_join(
    piece_out,  # [2 * shares, ROWS, RANK] fp32
    piece_lse,  # [2 * shares, ROWS] fp32
    ends,  # [2, batch] int32: the shares that a sequence begins and ends in
    out,  # [batch, ROWS, RANK]
    lse,  # [batch, ROWS] fp32
    ROWS: gl.constexpr,
    RANK: gl.constexpr,
    PIECES: gl.constexpr,  # joined at once
    PLACES: gl.constexpr,  # query rows of a program
    WIDTH: gl.constexpr,  # columns of a program, up to 128
):
    """Grid (batch, ROWS / PLACES, RANK / WIDTH)."""
    LAYOUT: gl.constexpr = lanes_of(WIDTH, gl.num_warps())
    SPOTS: gl.constexpr = gl.SliceLayout(1, gl.SliceLayout(2, LAYOUT))
    seq = gl.program_id(0)
    spot = gl.program_id(1) * PLACES + gl.arange(0, PLACES, SPOTS)
    column = gl.arange(0, WIDTH, gl.SliceLayout(0, gl.SliceLayout(1, LAYOUT)))
    column += gl.program_id(2) * WIDTH
    result = seq.to(gl.int64) * ROWS + spot
    wait()
    first = gl.load(ends + seq)
    pieces = gl.load(ends + gl.num_programs(0) + seq) - first + 1
    if pieces > 1:
        join_rows(
            piece_out, piece_lse, out, lse, first, pieces, spot, column, result,
            gl.program_id(2) == 0, ROWS, RANK, PIECES, LAYOUT,
        )  # fmt: skip
