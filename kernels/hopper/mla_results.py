"""Where results of Hopper's MLA decode go: to the output, or as pieces for others to join."""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from kernels.hopper.mla_kept import BATCH, ENDS, LSE, PIECE_LSE, address, told
from kernels.hopper.mla_work import KEYS, sequence_of


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
    target = address(kept, LSE, gl.float32)
    if held.shape[0] > 1:
        seq, seqlen, first, last = sequence_of(work, held, turn)
        end = address(kept, ENDS, gl.int32) + seq
        gl.store(end, gl.program_id(1), mask=first == 0)
        gl.store(end + told(work.index(BATCH)), gl.program_id(1), mask=last * KEYS >= seqlen)
        if piece:
            target = address(kept, PIECE_LSE, gl.float32)
    gl.store(target + place, lse, mask=row < SEQ_ROWS)


@gluon.jit
def has_result(row, work, held, turn, SEQ_ROWS: gl.constexpr):
    """Whether there is such a row, and a result: a split without tiles among others has none."""
    there = row < SEQ_ROWS
    if held.shape[0] == 1:
        _, _, first, last = sequence_of(work, held, turn)
        there &= (first < last) | (gl.num_programs(1) == 1)
    return there


@gluon.jit
def store_result(values, out, piece_out, place, column, piece, wanted):
    """Part of their results: [rows, columns], or turned over, as `place` and `column` are."""
    if piece_out is None:
        gl.store(out + place + column, values.to(out.dtype.element_ty), mask=wanted)
    elif piece:
        gl.store(piece_out + place + column, values, mask=wanted)
    else:
        gl.store(out + place + column, values.to(out.dtype.element_ty), mask=wanted)
