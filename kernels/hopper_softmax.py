"""Online softmax on Hopper's accumulator layout, one warpgroup and 64 rows at a time.

A row of scores lies in the four lanes of a quad: key 8a + 2b + c is in register (a, c) of lane b.
Everything here but the row maximum stays within a thread.
"""

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
def operand(weights, dtype: gl.constexpr, LAYOUT: gl.constexpr, PINNED: gl.constexpr):
    """Weights as the left operand of the second product, without leaving their thread.

    fp8 wants four neighbouring keys in one thread where the scores have two and two: the keys are
    renamed within each 16, and the transposed values come in that order (see `transpose_values`).
    PINNED: a conversion in assembly, which the compiler may not move past the wait that follows.
    """
    M: gl.constexpr = weights.shape[0]
    N: gl.constexpr = weights.shape[1]
    if dtype.primitive_bitwidth == 8:
        weights = weights.reshape([M, N // 16, 2, 4, 2]).permute([0, 1, 3, 2, 4]).reshape([M, N])
    if PINNED and dtype == gl.bfloat16:
        weights = gl.inline_asm_elementwise(
            "cvt.rn.bf16x2.f32 $0, $2, $1;", "=r,f,f", [weights],
            dtype=gl.bfloat16, is_pure=False, pack=2,
        )  # fmt: skip
    elif PINNED:
        weights = gl.inline_asm_elementwise(
            "cvt.rn.f16x2.f32 $0, $2, $1;", "=r,f,f", [weights],
            dtype=gl.float16, is_pure=False, pack=2,
        )  # fmt: skip
    return gl.convert_layout(weights.to(dtype), LAYOUT)


@gluon.jit
def mask(scores, limit, start):
    """-inf from column limit[row] on, and before column start[row] if there is a start.

    Key 8a + 2b + c of a row is in register (a, c) of lane b of its quad: with 2b on the limit's
    side, every register compares against a constant and none holds a column number.
    """
    M: gl.constexpr = scores.shape[0]
    N: gl.constexpr = scores.shape[1]
    LAYOUT: gl.constexpr = scores.type.layout
    parts = scores.reshape([M, N // 8, 4, 2])
    PARTS: gl.constexpr = parts.type.layout
    MAB: gl.constexpr = gl.SliceLayout(3, PARTS)
    MB: gl.constexpr = gl.SliceLayout(1, MAB)
    a = gl.arange(0, N // 8, gl.SliceLayout(0, gl.SliceLayout(2, MAB)))
    c = gl.arange(0, 2, gl.SliceLayout(0, gl.SliceLayout(1, gl.SliceLayout(2, PARTS))))
    b = gl.arange(0, 4, gl.SliceLayout(0, MB))
    column = 8 * a[None, :][:, :, None][:, :, :, None] + c[None, :][:, None, :][:, :, None, :]
    rest = gl.convert_layout(limit, gl.SliceLayout(1, MB))[:, None] - 2 * b[None, :]
    parts = gl.where(column < rest[:, None, :][:, :, :, None], parts, -float("inf"))
    if start is not None:
        rest = gl.convert_layout(start, gl.SliceLayout(1, MB))[:, None] - 2 * b[None, :]
        parts = gl.where(column >= rest[:, None, :][:, :, :, None], parts, -float("inf"))
    return gl.convert_layout(parts.reshape([M, N]), LAYOUT, assert_trivial=True)


@gluon.jit
def softmax(scores, row_max, scale, masked, first_key, seqlen_k, seen, unseen,
            GUARD: gl.constexpr, SHIFT: gl.constexpr, LAZY: gl.constexpr):  # fmt: skip
    """Weights of one key tile, the new row maxima and the decay of everything before it.

    Row i of a masked tile sees the keys from unseen + i up to seen + i, and up to seqlen_k (None:
    no such limit).
    GUARD: some row may see no key at all. A row keeps its maximum until it grows by more than LAZY:
    weights reach 2**LAZY, not 1, and the decay is 1 nearly always.
    """
    if masked:
        ROW: gl.constexpr = gl.SliceLayout(1, scores.type.layout)
        row = gl.arange(0, scores.shape[0], ROW)
        if seen is None:
            limit = gl.full_like(row, 0) + seqlen_k
        elif seqlen_k is None:
            limit = seen + row
        else:
            limit = gl.minimum(seqlen_k, seen + row)
        if unseen is not None:
            scores = mask(scores, limit - first_key, unseen + row - first_key)
        else:
            scores = mask(scores, limit - first_key, None)
    new_max = gl.maximum(row_max, gl.max(scores, 1) * scale)
    if LAZY > 0:
        new_max = gl.where(new_max > row_max + LAZY, new_max, row_max)
    reference = new_max
    if GUARD:  # a row that has seen no key yet: avoid inf - inf
        reference = gl.where(new_max == -float("inf"), 0.0, new_max)
    weights = gl.exp2(scores * scale - (reference - SHIFT)[:, None])
    return weights, new_max, gl.exp2(row_max - reference)
