"""Online softmax on Hopper's accumulator layout, one warpgroup and 64 rows at a time.

A row of scores lies in the four lanes of a quad: key 8a + 2b + c is in register (a, c) of lane b.
Everything here but the row maximum stays within a thread.
"""

import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl


@gluon.jit
def partial_sums(weights):
    """Row sums over what each thread holds, no shuffles.  # [ROWS, 4]"""
    M: gl.constexpr = weights.shape[0]
    N: gl.constexpr = weights.shape[1]
    pairs = gl.sum(weights.reshape([M, N // 8, 4, 2]), axis=3)
    return gl.sum(pairs, axis=1)


@gluon.jit
def operand(weights, dtype: gl.constexpr, LAYOUT: gl.constexpr):
    """Weights as the left operand of the second product, without leaving their thread.

    fp8 wants four neighbouring keys in one thread where the scores have two and two: the keys are
    renamed within each 16, and the transposed values come in that order (see `values.Transposer`).
    """
    M: gl.constexpr = weights.shape[0]
    N: gl.constexpr = weights.shape[1]
    if dtype.primitive_bitwidth == 8:
        weights = weights.reshape([M, N // 16, 2, 4, 2]).permute([0, 1, 3, 2, 4]).reshape([M, N])
    return gl.convert_layout(weights.to(dtype), LAYOUT)


@triton.constexpr_function
def _rescaling(count, tested):
    """Assembly that multiplies `count` registers of a thread, unless all rows of its warp stay.

    The decays in the registers `tested` are all that a thread has.
    """
    tests = [f"setp.neu.f32 moves, ${2 * count + place}, 0f3F800000;" for place in tested]
    lines = [
        "{ .reg .pred moves;",
        tests[0],
        *["@!moves " + test for test in tests[1:]],
        "vote.sync.any.pred moves, moves, 0xffffffff;",
        "@!moves bra.uni STAYS;",
    ]
    lines += [f"mul.f32 ${i}, ${i}, ${2 * count + i};" for i in range(count)]
    return "\n".join([*lines, "STAYS: }"])


@triton.constexpr_function
def _own_columns(columns):
    """Registers of a thread's first row of an accumulator: two columns of every eight."""
    return [4 * eight + one for eight in range(columns // 8) for one in range(2)]


@triton.constexpr_function
def _rescaling_registers(count):
    return ",".join(["=f"] * count + [str(i) for i in range(count)] + ["f"] * count)


@gluon.jit
def rescale(acc, decay):
    """acc times its rows' decay; a warp passes over it where the decay of all its rows is 1.

    A branch of the language would be taken by four warps together, after a barrier and a reduction.
    """
    COUNT: gl.constexpr = acc.shape[1] // 2  # registers a thread has of it
    factor = gl.convert_layout(decay, gl.SliceLayout(1, acc.type.layout))[:, None]
    return gl.inline_asm_elementwise(
        _rescaling(COUNT, (0, 2)), _rescaling_registers(COUNT), [acc, factor],
        dtype=gl.float32, is_pure=True, pack=COUNT,
    )  # fmt: skip


@gluon.jit
def rescale_columns(acc, decay):
    """The same where the decay belongs to columns: a thread has two of every eight."""
    COUNT: gl.constexpr = acc.shape[0] * acc.shape[1] // 128
    factor = gl.convert_layout(decay, gl.SliceLayout(0, acc.type.layout))[None, :]
    return gl.inline_asm_elementwise(
        _rescaling(COUNT, _own_columns(acc.shape[1])), _rescaling_registers(COUNT),
        [acc, factor.broadcast_to(acc.shape)], dtype=gl.float32, is_pure=True, pack=COUNT,
    )  # fmt: skip


@gluon.jit
def settled(row_sum):
    """row_sum, and an end of the basic block where it is known: a branch that no sum ever takes."""
    return gl.inline_asm_elementwise(
        "{ .reg .pred p; .reg .u32 t; setp.lt.f32 p, $0, 0fBF800000; @!p bra DONE;"
        "SPIN: mov.u32 t, %clock; setp.ne.u32 p, t, 0; @p bra SPIN; DONE: }",
        "=f,=f,0,1", [row_sum], dtype=gl.float32, is_pure=False, pack=2,
    )  # fmt: skip


@gluon.jit
def _columns(N: gl.constexpr, PARTS: gl.constexpr):
    """8a + c of every entry of [M, N / 8, 4, 2], and b of every [M, 4]: 8a + 2b + c is its column.

    With 2b on the limit's side of a comparison, every register compares against a constant and none
    holds a column number.
    """
    MAB: gl.constexpr = gl.SliceLayout(3, PARTS)
    MB: gl.constexpr = gl.SliceLayout(1, MAB)
    a = gl.arange(0, N // 8, gl.SliceLayout(0, gl.SliceLayout(2, MAB)))
    c = gl.arange(0, 2, gl.SliceLayout(0, gl.SliceLayout(1, gl.SliceLayout(2, PARTS))))
    column = 8 * a[None, :][:, :, None][:, :, :, None] + c[None, :][:, None, :][:, :, None, :]
    return column, gl.arange(0, 4, gl.SliceLayout(0, MB))[None, :]


@gluon.jit
def mask(scores, end, seen, unseen):
    """-inf but for columns below `end` that row i sees, from unseen + i to seen + i, if given."""
    M: gl.constexpr = scores.shape[0]
    N: gl.constexpr = scores.shape[1]
    LAYOUT: gl.constexpr = scores.type.layout
    parts = scores.reshape([M, N // 8, 4, 2])
    PARTS: gl.constexpr = parts.type.layout
    column, b = _columns(N, PARTS)
    row = gl.arange(0, M, gl.SliceLayout(1, gl.SliceLayout(1, gl.SliceLayout(3, PARTS))))[:, None]
    diagonal = row - 2 * b  # the only number of a thread's own, whatever the mask
    if seen is None:
        limit = end + row * 0 - 2 * b
    elif end is None:
        limit = seen + diagonal
    else:
        limit = gl.minimum(end + row * 0 - 2 * b, seen + diagonal)
    parts = gl.where(column < limit[:, None, :][:, :, :, None], parts, -float("inf"))
    if unseen is not None:
        limit = unseen + diagonal
        parts = gl.where(column >= limit[:, None, :][:, :, :, None], parts, -float("inf"))
    return gl.convert_layout(parts.reshape([M, N]), LAYOUT, assert_trivial=True)


@gluon.jit
def mask_past(scores, ends, first):
    """-inf but for columns below each row's end less `first`; `ends` are in shared memory, [M]."""
    M: gl.constexpr = scores.shape[0]
    N: gl.constexpr = scores.shape[1]
    LAYOUT: gl.constexpr = scores.type.layout
    parts = scores.reshape([M, N // 8, 4, 2])
    PARTS: gl.constexpr = parts.type.layout
    column, b = _columns(N, PARTS)
    ends = ends.load(gl.SliceLayout(1, gl.SliceLayout(1, gl.SliceLayout(3, PARTS))))
    limit = (ends - first)[:, None] - 2 * b
    parts = gl.where(column < limit[:, None, :][:, :, :, None], parts, -float("inf"))
    return gl.convert_layout(parts.reshape([M, N]), LAYOUT, assert_trivial=True)


@gluon.jit
def row_maxima(scores, CHAINED: gl.constexpr):
    """Each row's largest score; CHAINED: by four chains of comparisons instead of a long one."""
    if CHAINED:
        M: gl.constexpr = scores.shape[0]
        N: gl.constexpr = scores.shape[1]
        parts = gl.max(scores.reshape([M, 4, N // 32, 4, 2]), axis=2)
        largest = gl.max(gl.max(gl.max(parts, axis=3), axis=1), axis=1)
        return gl.convert_layout(largest, gl.SliceLayout(1, scores.type.layout))
    else:  # noqa: RET505 (the compiler needs the branch not taken left out)
        return gl.max(scores, 1)


@gluon.jit
def softmax(scores, row_max, scale, masked, first_key, seqlen_k, seen, unseen,
            GUARD: gl.constexpr, SHIFT: gl.constexpr, LAZY: gl.constexpr,
            CHAINED: gl.constexpr):  # fmt: skip
    """Weights of one key tile, the new row maxima and the decay of everything before it.

    Row i of a masked tile sees the keys from unseen + i up to seen + i, and up to seqlen_k (None:
    no such limit).
    GUARD: some row may see no key at all. A row keeps its maximum until it grows by more than LAZY:
    weights reach 2**(SHIFT + LAZY), not 2**SHIFT, and the decay is 1 nearly always.
    """
    if masked:
        end, first_seen, first_unseen = None, None, None
        if seqlen_k is not None:
            end = seqlen_k - first_key
        if seen is not None:
            first_seen = seen - first_key
        if unseen is not None:
            first_unseen = unseen - first_key
        scores = mask(scores, end, first_seen, first_unseen)
    new_max = gl.maximum(row_max, row_maxima(scores, CHAINED) * scale)
    new_max = gl.where(new_max > row_max + LAZY, new_max, row_max)
    reference = new_max
    if GUARD:  # a row that has seen no key yet: avoid inf - inf
        reference = gl.maximum(new_max, -3.0e38)
    weights = gl.exp2(scores * scale - (reference - SHIFT)[:, None])
    return weights, new_max, gl.exp2(row_max - reference)
