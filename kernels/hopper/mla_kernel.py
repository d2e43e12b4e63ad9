"""MLA decode for Hopper in Gluon: a producer warp, one warpgroup for scores, two for the output.

A program takes 64 query rows over tiles of 64 keys, of one sequence after the other. The producer
fills a ring of two tiles by TMA, page by page; over an 8-bit cache a warpgroup in its place also
widens them to fp16 (`kernels.hopper.widen`). One warpgroup computes the scores and the softmax and
passes the weights through shared memory; the other two multiply them by the same tile, each for
half of the output's columns. So the scores of the next tile run beside the values of this one.
Works with the Gluon of Triton 3.6 to 3.9.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.mla_kept import (
    KEPT,
    NUMBERS,
    PLAIN,
    keep,
    out_scale,
    pages_of,
    query_row,
    score_scale,
)
from kernels.hopper.mla_queries import HALF, ROPE, ROWS, load_queries
from kernels.hopper.mla_results import has_result, result_place, store_lse, store_result
from kernels.hopper.mla_work import KEYS, ask, assign, sequence_of, turns
from kernels.hopper.names import barrier, fence, load_tile, mma, mma_wait
from kernels.hopper.softmax import mask_past, partial_sums
from kernels.hopper.widen import AHEAD, widen

STAGES = gl.constexpr(2)
LEFT, RIGHT = gl.constexpr(0), gl.constexpr(1)


@gluon.jit
def produce(
    work, held, kept, nope_desc, rope_desc, nope_ring, rope_ring, k_full, k_empty,
    BLOCK_SIZE: gl.constexpr, OVERLAP_LAUNCH: gl.constexpr,
):  # fmt: skip
    """Fill the ring. A page past the end is page -1, outside the cache: TMA fills in zeros."""
    PART: gl.constexpr = nope_desc.block_type.shape[1]  # keys that share a page
    WIDTH: gl.constexpr = nope_desc.block_type.shape[2]  # of half the rank
    TURNED: gl.constexpr = rope_desc.block_type.shape[2]
    RING: gl.constexpr = k_full.shape[0]
    if OVERLAP_LAUNCH:
        gl.inline_asm_elementwise(
            "griddepcontrol.launch_dependents; mov.b32 $0, 0;", "=r", [], dtype=gl.int32,
            is_pure=False, pack=1,
        )  # fmt: skip
    before = 0  # tiles before a sequence's first one
    turn = 0
    while turn < turns(work):
        seq, seqlen, first, last = sequence_of(work, held, turn)
        before -= first
        table = pages_of(kept, seq)
        for tile in range(first, last):
            count = before + tile
            slot = count % RING
            pages = ()
            for part in gl.static_range(KEYS // PART):
                key = tile * KEYS + part * PART
                page = gl.load(table + key // BLOCK_SIZE, mask=key < seqlen, other=-1)
                pages = pages + (page,)  # type: ignore[assignment]
            mbarrier.wait(k_empty.index(slot), count // RING & 1 ^ 1)
            full = k_full.index(slot)
            mbarrier.expect(full, KEYS * (2 * WIDTH + TURNED) * 2)
            for part in gl.static_range(KEYS // PART):
                row = (tile * KEYS + part * PART) % BLOCK_SIZE
                for half in gl.static_range(2):
                    target = nope_ring.index(slot * 2 + half).slice(part, 1, dim=0)
                    load_tile(nope_desc, [pages[part], row, half * WIDTH], full, target)
                target = rope_ring.index(slot).slice(part, 1, dim=0)
                load_tile(rope_desc, [pages[part], row, 2 * WIDTH], full, target)
        before += last
        turn += 1


@gluon.jit
def _score(
    given, work, held, kept, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, Q_TYPE: gl.constexpr
):
    """Scores and softmax of every tile. Each row's decay goes ahead of its weights."""
    (
        q_nope, q_rope, seen, scales, nope_ring, rope_ring, weight_smem, decay_smem, end_smem,
        k_full, decay_full, weight_full, weight_empty, end_full, end_empty, free,
    ) = given  # fmt: skip
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 16])
    S_ROWS: gl.constexpr = gl.SliceLayout(1, S_LAYOUT)
    before = 0  # tiles before a sequence's first one
    for turn in tl.range(turns(work), disable_licm=True):
        seq, seqlen, first, last = sequence_of(work, held, turn)
        before -= first
        load_queries(work, kept, seq, q_nope, q_rope, seen, scales, seqlen, HEADS, Q_TOKENS, Q_TYPE)
        fence()
        barrier()
        # Registers hold what fits: operands in shared memory cost as much bandwidth as the keys.
        q_left = q_nope.index(0).load(gl.DotOperandLayout(0, S_LAYOUT, 2))
        fence()
        mbarrier.arrive(free, count=1)  # of that half's memory
        scale = score_scale(work)
        row_max = gl.full([ROWS], -float("inf"), gl.float32, S_ROWS)
        row_sum = partial_sums(gl.zeros([ROWS, KEYS], gl.float32, S_LAYOUT))
        for tile in range(first, last):
            count = before + tile
            slot = count % STAGES
            mbarrier.wait(k_full.index(slot), count // STAGES & 1)
            left_half = nope_ring.index(slot * 2).reshape([KEYS, HALF])
            right_half = nope_ring.index(slot * 2 + 1).reshape([KEYS, HALF])
            turned = rope_ring.index(slot).reshape([KEYS, ROPE])
            scores = gl.zeros([ROWS, KEYS], gl.float32, S_LAYOUT)
            scores = mma(q_left, left_half.permute([1, 0]), scores, use_acc=False, is_async=True)
            scores = mma(q_nope.index(1), right_half.permute([1, 0]), scores, is_async=True)
            scores = mma(q_rope, turned.permute([1, 0]), scores, is_async=True)
            scores = mma_wait(0, deps=[scores])
            if (tile + 1) * KEYS > seqlen - Q_TOKENS + 1:
                scores = mask_past(scores, seen, tile * KEYS)
            if q_rope.dtype == Q_TYPE:
                factor = gl.full([ROWS], scale, gl.float32, S_ROWS)
            else:
                factor = scales.load(S_ROWS)
            new_max = gl.maximum(row_max, gl.max(scores, 1) * factor)
            shift = gl.where(new_max == -float("inf"), 0.0, new_max)
            decay = gl.exp2(row_max - shift)
            row_max = new_max
            decay_smem.index(slot).store(decay)
            mbarrier.arrive(decay_full.index(slot), count=1)
            weights = gl.exp2(scores * factor[:, None] - shift[:, None])
            S_SUM: gl.constexpr = gl.SliceLayout(1, row_sum.type.layout)
            row_sum = row_sum * gl.convert_layout(decay, S_SUM)[:, None] + partial_sums(weights)
            rounded = weights.to(nope_ring.dtype)
            mbarrier.wait(weight_empty, count & 1 ^ 1)
            weight_smem.store(rounded)
            fence()
            mbarrier.arrive(weight_full, count=1)
        total = gl.convert_layout(gl.sum(row_sum, axis=1), S_ROWS)
        total = gl.where(total == 0.0, 1.0, total)  # rows with nothing to attend to
        mbarrier.wait(end_empty, turn & 1 ^ 1)
        end_smem.store(out_scale(work) / total)
        mbarrier.arrive(end_full, count=1)
        row = query_row(work, ROWS, ROWS, S_ROWS)
        lse = (row_max + gl.log2(total)) * 0.6931471805599453
        store_lse(lse, kept, row, work, held, turn, HEADS * Q_TOKENS)
        before += last


@gluon.jit
def clear_past(values, keys):
    """Zero the rows from `keys` on: what was never written may be NaN, and 0 * NaN is NaN."""
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    inside = (gl.arange(0, values.shape[0], gl.SliceLayout(1, LAYOUT)) < keys)[:, None]
    for part in gl.static_range(values.shape[1] // 64):
        columns = values.slice(part * 64, 64, dim=1)
        held = columns.load(LAYOUT)
        columns.store(gl.where(inside, held, gl.zeros_like(held)))
    fence()
    barrier()


@gluon.jit
def _accumulate(
    given, work, held, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, SIDE: gl.constexpr
):  # fmt: skip
    """Half of the output's columns: the weights times that half of every tile."""
    (
        out_ptr, piece_out, nope_ring, weight_smem, decay_smem, end_smem, k_full, k_empty,
        decay_full, weight_full, weight_empty, end_full, end_empty,
    ) = given  # fmt: skip
    # 128 columns an instruction: 256 do not compile where 16 warps share the registers.
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 128, 16])
    O_ROWS: gl.constexpr = gl.SliceLayout(1, O_LAYOUT)
    before = 0  # tiles before a sequence's first one
    turn = 0
    while turn < turns(work):
        _, seqlen, first, last = sequence_of(work, held, turn)
        before -= first
        acc = gl.zeros([ROWS, HALF], gl.float32, O_LAYOUT)
        for tile in range(first, last):
            count = before + tile
            slot = count % STAGES
            mbarrier.wait(k_full.index(slot), count // STAGES & 1)
            values = nope_ring.index(slot * 2 + SIDE).reshape([KEYS, HALF])
            if seqlen - tile * KEYS < KEYS:
                clear_past(values, seqlen - tile * KEYS)
            mbarrier.wait(decay_full.index(slot), count // STAGES & 1)
            acc = acc * decay_smem.index(slot).load(O_ROWS)[:, None]
            mbarrier.wait(weight_full, count & 1)
            acc = mma_wait(0, deps=[mma(weight_smem, values, acc, is_async=True)])
            mbarrier.arrive(weight_empty, count=1)
            mbarrier.arrive(k_empty.index(slot), count=1)
        mbarrier.wait(end_full, turn & 1)
        acc = acc * end_smem.load(O_ROWS)[:, None]
        mbarrier.arrive(end_empty, count=1)
        row = query_row(work, ROWS, ROWS, O_ROWS)
        column = SIDE * HALF + gl.arange(0, HALF, gl.SliceLayout(0, O_LAYOUT))
        place, piece = result_place(row, work, held, turn, HEADS * Q_TOKENS)
        wanted = has_result(row, work, held, turn, HEADS * Q_TOKENS)
        store_result(
            acc, out_ptr, piece_out, place[:, None] * (2 * HALF), column[None, :], piece,
            wanted[:, None] & (column >= 0)[None, :],
        )  # fmt: skip
        before += last
        turn += 1


@gluon.jit(do_not_specialize=["batch", "num_splits", "max_blocks"])
def hopper_mla_kernel(
    q_nope,  # [batch, q_tokens, heads, 512]
    q_rope,  # [batch, q_tokens, heads, 64]
    nope_desc,  # [num_blocks, block_size, 576], 256 columns at a time
    rope_desc,  # the same, 64 columns at a time
    block_table,  # [batch, max_blocks] int32
    cache_seqlens,  # [batch] int32
    latent_scale,  # fp32, one element, or None
    out,  # [batch * q_tokens * heads, num_splits, 512]
    lse,  # [batch * q_tokens * heads, num_splits] fp32
    piece_out,  # of equal shares: [2 * shares, q_tokens * heads, 512] fp32
    piece_lse,  # the same without 512
    ends,  # of equal shares: [2, batch] int32, those that a sequence begins and ends in
    score_scale,  # softmax_scale * log2(e), times latent_scale where that is a number
    out_scale,  # latent_scale where that is a number
    batch,
    num_splits,  # of every sequence; of equal shares, as many as there are shares for
    max_blocks,
    stride_nb,
    stride_nt,
    stride_nh,
    stride_rb,
    stride_rt,
    stride_rh,
    stride_table,
    Q_TOKENS: gl.constexpr,
    HEADS: gl.constexpr,
    BLOCK_SIZE: gl.constexpr,
    OVERLAP_LAUNCH: gl.constexpr,
    MOST: gl.constexpr,  # of equal shares, sequences: a power of two from 32; of splits 1
    PACKED: gl.constexpr,  # the cache is int16 words of two entries, widened to fp16
):
    """Grid (blocks of 64 query rows, splits, batch), or (blocks, shares, 1); 4 warps are asked for,
    16 run.
    """
    Q_TYPE: gl.constexpr = q_nope.dtype.element_ty
    dtype: gl.constexpr = nope_desc.dtype if PACKED == "none" else gl.float16
    TILE: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    PART: gl.constexpr = nope_desc.block_type.shape[1]
    asked = ask(cache_seqlens, batch, num_splits, max_blocks * BLOCK_SIZE, MOST)
    q_nope_smem = gl.allocate_shared_memory(dtype, [2, ROWS, HALF], TILE)
    q_rope_smem = gl.allocate_shared_memory(dtype, [ROWS, ROPE], TILE)
    RING: gl.constexpr = gl.NVMMASharedLayout(128, 16, 3)
    nope_ring = gl.allocate_shared_memory(dtype, [2 * STAGES, KEYS // PART, PART, HALF], RING)
    rope_ring = gl.allocate_shared_memory(dtype, [STAGES, KEYS // PART, PART, ROPE], RING)
    weight_smem = gl.allocate_shared_memory(dtype, [ROWS, KEYS], TILE)
    seen_smem = gl.allocate_shared_memory(gl.int32, [ROWS], PLAIN)
    scale_smem = gl.allocate_shared_memory(gl.float32, [ROWS], PLAIN)
    decay_smem = gl.allocate_shared_memory(gl.float32, [STAGES, ROWS], PLAIN)
    end_smem = gl.allocate_shared_memory(gl.float32, [ROWS], PLAIN)
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    decay_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    weight_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    weight_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    end_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    end_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    staged = gl.allocate_shared_memory(gl.int64, [AHEAD, 1], mbarrier.MBarrierLayout())
    work = gl.allocate_shared_memory(gl.int32, [NUMBERS, 1], PLAIN)
    held = gl.allocate_shared_memory(gl.int32, [MOST, 1], PLAIN)
    kept = gl.allocate_shared_memory(gl.int64, [KEPT, 1], PLAIN)
    keep(
        kept, q_nope, q_rope, lse, piece_lse, ends, block_table, stride_table,
        (stride_nb, stride_nt, stride_nh, stride_rb, stride_rt, stride_rh),
    )  # fmt: skip
    for slot in gl.static_range(STAGES):
        mbarrier.init(k_full.index(slot), count=1)
        mbarrier.init(k_empty.index(slot), count=2)
        mbarrier.init(decay_full.index(slot), count=1)
    for place in gl.static_range(AHEAD):
        mbarrier.init(staged.index(place), count=1)
    mbarrier.init(weight_full, count=1)
    mbarrier.init(weight_empty, count=2)
    mbarrier.init(end_full, count=1)
    mbarrier.init(end_empty, count=2)
    mbarrier.init(free, count=1)
    if latent_scale is not None:
        out_scale = gl.load(latent_scale)
        score_scale *= out_scale
    assign(asked, batch, num_splits, score_scale, out_scale, work, held)
    fence()
    barrier()
    values = (
        out, piece_out, nope_ring, weight_smem, decay_smem, end_smem, k_full, k_empty, decay_full,
        weight_full, weight_empty, end_full, end_empty,
    )  # fmt: skip
    scores = (
        q_nope_smem, q_rope_smem, seen_smem, scale_smem, nope_ring, rope_ring, weight_smem,
        decay_smem, end_smem, k_full, decay_full, weight_full, weight_empty, end_full, end_empty,
        free,
    )  # fmt: skip
    if PACKED == "none":
        gl.warp_specialize(
            [
                (_accumulate, (values, work, held, HEADS, Q_TOKENS, LEFT)),
                (_accumulate, (values, work, held, HEADS, Q_TOKENS, RIGHT)),
                (_score, (scores, work, held, kept, HEADS, Q_TOKENS, Q_TYPE)),
                (produce, (
                    work, held, kept, nope_desc, rope_desc, nope_ring, rope_ring, k_full, k_empty,
                    BLOCK_SIZE, OVERLAP_LAUNCH,
                )),
            ],
            [4, 4, 1],
            [160, 152, 40],
        )  # fmt: skip
    else:
        gl.warp_specialize(
            [
                (_accumulate, (values, work, held, HEADS, Q_TOKENS, LEFT)),
                (_accumulate, (values, work, held, HEADS, Q_TOKENS, RIGHT)),
                (_score, (scores, work, held, kept, HEADS, Q_TOKENS, Q_TYPE)),
                (widen, (
                    work, held, kept, nope_desc, rope_desc, q_nope_smem.index(0), staged, free,
                    nope_ring, rope_ring, k_full, k_empty, BLOCK_SIZE, PACKED, OVERLAP_LAUNCH,
                )),
            ],
            [4, 4, 4],
            [160, 160, 32],
        )  # fmt: skip
