"""The scores' part of MLA decode over 8-bit latents: queries in registers, products, softmax.

A bf16 query is taken apart into two 8-bit numbers, and the tensor cores multiply the latents as
they lie: of their 64 rows two belong to each query, 8 rows apart and so in one thread. They stay in
registers as the left operand, so of shared memory only the latents are read. Two fp8 numbers hold
the 8 bits of a bf16; for int8 they are digits to the base of 128, the largest of a row 127 * 128.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.byte_queries import NARROW, PIECE, PIECES, QUERIES, WIDE
from kernels.hopper.mla_kept import out_scale, query_row
from kernels.hopper.mla_results import store_lse
from kernels.hopper.mla_work import KEYS, sequence_of, turns
from kernels.hopper.names import fence, mma, mma_wait, view
from kernels.hopper.softmax import row_maxima

HALF = gl.constexpr(128)  # words of half the rank, 512 entries
ROPE = gl.constexpr(32)


@gluon.jit
def _joined(products):
    """Scores of the queries from the products of both their parts.  # [QUERIES, KEYS]"""
    if products.dtype == gl.int32:
        row = gl.arange(0, 2 * QUERIES, gl.SliceLayout(1, products.type.layout))
        products = gl.where((row % 16 < 8)[:, None], products * 128, products)
    both = gl.sum(products.reshape([QUERIES // 8, 2, 8, KEYS]), 1)
    return both.to(gl.float32).reshape([QUERIES, KEYS])


@gluon.jit
def _scores(queries, nope_ring, rope_ring, slot, dtype: gl.constexpr, LAYOUT: gl.constexpr):
    """Scores of a tile, but for the factors of their rows.  # [QUERIES, KEYS]

    Tensor cores add up fp8 products with few bits, so they only do so for one piece at a time.
    """
    none = gl.zeros([2 * QUERIES, KEYS], gl.int32 if dtype == gl.int8 else gl.float32, LAYOUT)
    held = view(rope_ring.index(slot).reshape([KEYS, ROPE]), dtype, [KEYS, 2 * ROPE], NARROW)
    pending = mma(queries[0], held.permute([1, 0]), none, use_acc=False, is_async=True)
    total = none  # until there is one: adding it to zeros would take 16 instructions
    for place in gl.static_range(PIECES):
        half = nope_ring.index(slot * 2 + place * PIECE // (2 * HALF)).reshape([KEYS, HALF])
        held = view(half, dtype, [KEYS, 2 * HALF], WIDE)
        held = held.slice(place * PIECE % (2 * HALF), PIECE, dim=1).permute([1, 0])
        if dtype == gl.int8:
            pending = mma(queries[1 + place], held, pending, is_async=True)
        else:
            following = mma(queries[1 + place], held, none, use_acc=False, is_async=True)
            part = _joined(mma_wait(1, deps=[pending]))
            total = part if place == 0 else total + part
            pending = following
    part = _joined(mma_wait(0, deps=[pending]))
    return part if dtype == gl.int8 else total + part


@gluon.jit
def score(
    given, work, held, kept, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, ROWS: gl.constexpr
):  # fmt: skip
    """Scores and softmax of all tiles. A tile's weights go to the same place of their ring as its
    latents: what is free for the one is free for the other.
    """
    (
        factors, q_nope, q_rope, nope_ring, rope_ring, weight_ring, decay_ring,
        end_smem, q_full, q_empty, k_full, weight_full, end_full, end_empty,
    ) = given  # fmt: skip
    STAGES: gl.constexpr = k_full.shape[0]
    D_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 32])
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, D_LAYOUT, 4)
    none = _joined(gl.zeros([2 * QUERIES, KEYS], gl.float32, D_LAYOUT))
    S_LAYOUT: gl.constexpr = none.type.layout
    S_ROWS: gl.constexpr = gl.SliceLayout(1, S_LAYOUT)
    key = gl.arange(0, KEYS, gl.SliceLayout(0, S_LAYOUT))
    before = 0  # tiles before a sequence's first one
    turn = 0
    while turn < turns(work):
        _, seqlen, first, last = sequence_of(work, held, turn)
        before -= first
        row_max = gl.full([QUERIES], -float("inf"), gl.float32, S_ROWS)
        sums = gl.zeros([QUERIES, KEYS], gl.float32, S_LAYOUT)  # of columns, at the end
        mbarrier.wait(q_full, turn & 1)
        factor = factors.load(S_ROWS)
        queries = (q_rope.load(A_LAYOUT),)
        for place in gl.static_range(PIECES):
            queries = queries + (q_nope.index(place).load(A_LAYOUT),)  # type: ignore[assignment]
        mbarrier.arrive(q_empty, count=1)
        for tile in range(first, last):
            count = before + tile
            slot = count % STAGES
            mbarrier.wait(k_full.index(slot), count // STAGES & 1)
            scores = _scores(queries, nope_ring, rope_ring, slot, q_rope.dtype, D_LAYOUT)
            if (tile + 1) * KEYS > seqlen - Q_TOKENS + 1:
                row = query_row(work, ROWS, QUERIES, S_ROWS)
                limit = seqlen - Q_TOKENS + row // HEADS + 1 - tile * KEYS
                scores = gl.where(key[None, :] < limit[:, None], scores, -float("inf"))
            new_max = gl.maximum(row_max, row_maxima(scores, True) * factor)
            shift = gl.where(new_max == -float("inf"), 0.0, new_max)
            decay = gl.exp2(row_max - shift)
            row_max = new_max
            decay_ring.index(slot).store(decay)
            weights = gl.exp2(scores * factor[:, None] - shift[:, None])
            weight_ring.index(slot).store(weights.to(gl.float16))
            fence()
            mbarrier.arrive(weight_full.index(slot), count=1)
            sums = sums * decay[:, None] + weights
        total = gl.sum(sums, 1)
        total = gl.where(total == 0.0, 1.0, total)  # queries with nothing to attend to
        mbarrier.wait(end_empty, turn & 1 ^ 1)
        end_smem.store(out_scale(work) / total)
        mbarrier.arrive(end_full, count=1)
        lse = (row_max + gl.log2(total)) * 0.6931471805599453
        row = query_row(work, ROWS, QUERIES, S_ROWS)
        store_lse(lse, kept, row, work, held, turn, HEADS * Q_TOKENS)
        before += last
        turn += 1
