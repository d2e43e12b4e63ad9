"""Paged decode for Hopper in Gluon: every multiprocessor reads as many keys, whatever the lengths.

One program a multiprocessor. Its producer warp goes through the program's share of all tiles
(`kernels.hopper.paged_work`) and fills a ring by TMA: a slot is 16 keys or values of one page, of 8
KV heads. A warp for each of these heads multiplies and does the softmax. A row that lies in one
share is written as it will be; the pieces of the others are joined by
`kernels.hopper.paged_join`. Works with the Gluon of Triton 3.6 to 3.9.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.names import barrier, fence
from kernels.hopper.notes import told
from kernels.hopper.paged_producer import FIRST, LAST, NOTES, PIECE, ROW, SEQLEN, produce
from kernels.hopper.paged_work import TILE

ROWS = gl.constexpr(16)  # of queries a KV head: tensor cores take no fewer


@gluon.jit
def _attend(
    out, lse, piece_out, piece_lse, q_smem, ring, notes, q_full, q_empty, full, empty, note_full,
    note_empty, score_scale, out_scale, left, head_blocks,
    Q_TOKENS: gl.constexpr, GROUP: gl.constexpr,
):  # fmt: skip
    """A warp for each KV head: scores, softmax and output of one row after the other."""
    SLOTS: gl.constexpr = full.shape[0]
    PARTS: gl.constexpr = q_smem.shape[0]  # of head_dim
    HEADS: gl.constexpr = q_smem.shape[2]
    PAD: gl.constexpr = q_smem.shape[4]  # of GROUP
    WIDTH: gl.constexpr = q_smem.shape[5]
    D: gl.constexpr = PARTS * WIDTH
    S: gl.constexpr = gl.NVMMADistributedLayout([2, 0], [HEADS, 1, 1], [1, 16, 8])
    LEFT: gl.constexpr = gl.DotOperandLayout(0, S, 2)
    RIGHT: gl.constexpr = gl.DotOperandLayout(1, S, 2)
    HEAD_ROWS: gl.constexpr = gl.SliceLayout(2, S)
    COLUMNS: gl.constexpr = gl.SliceLayout(0, gl.SliceLayout(1, S))
    head = gl.arange(0, HEADS, gl.SliceLayout(1, HEAD_ROWS))[:, None]
    place = gl.arange(0, ROWS, gl.SliceLayout(0, HEAD_ROWS))[None, :]
    token = place // PAD
    member = place % PAD
    column = gl.arange(0, WIDTH, COLUMNS)[None, :][:, None, :]
    key = gl.arange(0, TILE, COLUMNS)[None, :][:, None, :]
    value = gl.arange(0, TILE, gl.SliceLayout(0, gl.SliceLayout(2, RIGHT)))[None, :][:, :, None]
    wanted = (token < Q_TOKENS) & (member < GROUP) & (head >= 0)
    count = 0
    turn = 0
    mbarrier.wait(note_full, 0)
    row = told(notes, turn, ROW)
    while row >= 0:
        first = told(notes, turn, FIRST)
        last = told(notes, turn, LAST)
        seqlen = told(notes, turn, SEQLEN)
        piece = told(notes, turn, PIECE)
        mbarrier.arrive(note_empty, count=1)
        mbarrier.wait(q_full, turn & 1)
        queries = ()
        acc = ()
        for part in gl.static_range(PARTS):
            query = q_smem.index(part).reshape([HEADS, ROWS, WIDTH]).load(LEFT)
            queries = queries + (query,)  # type: ignore[assignment]
            zeros = gl.zeros([HEADS, ROWS, WIDTH], gl.float32, S)
            acc = acc + (zeros,)  # type: ignore[assignment]
        mbarrier.arrive(q_empty, count=1)
        row_max = gl.full([HEADS, ROWS], -float("inf"), gl.float32, HEAD_ROWS)
        sums = gl.zeros([HEADS, ROWS, TILE], gl.float32, S)  # added up across columns at the end
        for tile in range(first, last):
            slot = count % SLOTS
            mbarrier.wait(full.index(slot), count // SLOTS & 1)
            scores = gl.zeros([HEADS, ROWS, TILE], gl.float32, S)
            for part in gl.static_range(PARTS):
                keys = ring.index(slot * PARTS + part).reshape([HEADS, TILE, WIDTH])
                scores = mma_v2(queries[part], keys.permute([0, 2, 1]).load(RIGHT), scores)
            mbarrier.arrive(empty.index(slot), count=1)
            scores *= score_scale
            masked = (tile + 1) * TILE > seqlen - Q_TOKENS + 1
            if left is not None:
                masked |= tile * TILE < seqlen - 1 - left
            if masked:
                ahead = tile * TILE + key - (seqlen - Q_TOKENS + token)[:, :, None]
                scores = gl.where(ahead <= 0, scores, -float("inf"))
                if left is not None:
                    scores = gl.where(ahead >= -left, scores, -float("inf"))
            new_max = gl.maximum(row_max, gl.max(scores, 2))
            shift = gl.where(new_max == -float("inf"), 0.0, new_max)
            weights = gl.exp2(scores - shift[:, :, None])
            decay = gl.exp2(row_max - shift)[:, :, None]
            sums = sums * decay + weights
            row_max = new_max
            weights = gl.convert_layout(weights.to(ring.dtype), LEFT)
            count += 1
            slot = count % SLOTS
            mbarrier.wait(full.index(slot), count // SLOTS & 1)
            added = ()
            for part in gl.static_range(PARTS):
                held = ring.index(slot * PARTS + part).reshape([HEADS, TILE, WIDTH]).load(RIGHT)
                if seqlen - tile * TILE < TILE:  # never written: may be NaN, and 0 * NaN is NaN
                    held = gl.where(value < seqlen - tile * TILE, held, gl.zeros_like(held))
                product = mma_v2(weights, held, acc[part] * decay)
                added = added + (product,)  # type: ignore[assignment]
            acc = added
            mbarrier.arrive(empty.index(slot), count=1)
            count += 1
        row_sum = gl.sum(sums, 2)
        row_sum = gl.where(row_sum == 0.0, 1.0, row_sum)  # rows with nothing to attend to
        row_lse = (row_max + gl.log2(row_sum)) * 0.6931471805599453
        norm = (out_scale / row_sum)[:, :, None]
        if piece < 0:
            q_head = (row % head_blocks * HEADS + head) * GROUP + member
            result = row // head_blocks * Q_TOKENS + token
            result = result.to(gl.int64) * (head_blocks * HEADS * GROUP) + q_head
            gl.store(lse + result, row_lse, mask=wanted)
            target = out + result[:, :, None] * D + column
            for part in gl.static_range(PARTS):
                final = (acc[part] * norm).to(out.dtype.element_ty)
                gl.store(target + part * WIDTH, final, mask=wanted[:, :, None])
        else:
            source = (piece * HEADS + head) * (Q_TOKENS * GROUP) + token * GROUP + member
            gl.store(piece_lse + source, row_lse, mask=wanted)
            goal = piece_out + source[:, :, None] * D + column
            for part in gl.static_range(PARTS):
                gl.store(goal + part * WIDTH, acc[part] * norm, mask=wanted[:, :, None])
        turn += 1
        mbarrier.wait(note_full, turn & 1)
        row = told(notes, turn, ROW)


@gluon.jit(do_not_specialize=["batch", "head_blocks", "max_blocks", "left"])
def hopper_paged_kernel(
    q_desc,  # [batch, kv_heads, q_tokens, GROUP, head_dim], 16 rows of queries at a time
    k_desc,  # [num_blocks, kv_heads, block_size, head_dim], 16 keys and 64 columns at a time
    v_desc,  # the same
    block_table,  # [batch, max_blocks] int32
    cache_seqlens,  # [batch] int32
    out,  # [batch * q_tokens * heads, head_dim]
    lse,  # [batch * q_tokens * heads] fp32
    piece_out,  # [2 * programs, KV heads of a block, q_tokens * GROUP, head_dim] fp32
    piece_lse,  # the same without head_dim
    score_scale,  # softmax_scale * log2(e) * k_scale
    out_scale,  # v_scale
    left,  # keys of the window before a query, or None
    batch,
    head_blocks,
    max_blocks,
    stride_table,
    Q_TOKENS: gl.constexpr,
    GROUP: gl.constexpr,
    BLOCK_SIZE: gl.constexpr,
    SLOTS: gl.constexpr,  # of the ring
    PARTS: gl.constexpr,  # of head_dim, 64 columns each
):
    """Grid (multiprocessors,); a warp for each KV head of a block, and the producer's."""
    q_smem = gl.allocate_shared_memory(
        q_desc.dtype, [PARTS] + q_desc.block_type.shape, q_desc.layout
    )
    ring = gl.allocate_shared_memory(
        k_desc.dtype, [SLOTS * PARTS] + k_desc.block_type.shape, k_desc.layout
    )
    notes = gl.allocate_shared_memory(gl.int32, [NOTES, 1], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    full = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [SLOTS, 1], mbarrier.MBarrierLayout())
    note_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    note_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    q_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    q_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    for slot in gl.static_range(SLOTS):
        mbarrier.init(full.index(slot), count=1)
        mbarrier.init(empty.index(slot), count=1)
    mbarrier.init(note_full, count=1)
    mbarrier.init(note_empty, count=1)
    mbarrier.init(q_full, count=1)
    mbarrier.init(q_empty, count=1)
    fence()
    barrier()
    gl.warp_specialize(
        [
            (_attend, (
                out, lse, piece_out, piece_lse, q_smem, ring, notes, q_full, q_empty, full, empty,
                note_full, note_empty, score_scale, out_scale, left, head_blocks, Q_TOKENS, GROUP,
            )),
            (produce, (
                q_desc, k_desc, v_desc, block_table, cache_seqlens, q_smem, ring, notes, q_full,
                q_empty, full, empty, note_full, note_empty, batch, head_blocks, max_blocks, left,
                stride_table, Q_TOKENS, BLOCK_SIZE,
            )),
        ],
        [1],
        [56],
    )  # fmt: skip
