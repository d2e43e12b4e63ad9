"""Paged decode for Hopper in Gluon: every multiprocessor reads as many keys, whatever the lengths.

One program a multiprocessor. Its producer warp goes through the program's share of all tiles
(`kernels.hopper.paged_work`) and fills a ring by TMA: a slot is a tile's keys or values, of a block
of up to 8 KV heads. Eight warps multiply and do the softmax: one for each head, or several that cut
a tile's keys among them. A row that lies in one share is written as it will be; the pieces of the
others are joined by `kernels.hopper.paged_join`. Works with the Gluon of Triton 3.6 to 3.9.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.ampere import mma_v2
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.names import barrier, fence, view
from kernels.hopper.notes import told
from kernels.hopper.paged_operands import query_operands, taken_apart
from kernels.hopper.paged_producer import FIRST, LAST, NOTES, PIECE, ROW, SEQLEN, produce
from kernels.hopper.paged_results import first_rows, joined, normalised, write
from kernels.hopper.paged_work import unmasked

ROWS = gl.constexpr(16)  # of queries a KV head: tensor cores take no fewer


@gluon.jit
def _attend(
    out, lse, piece_out, piece_lse, q_smem, ring, kept, kept_lse, values, stats, notes, q_full,
    q_empty, full, empty, note_full, note_empty, k_scale, v_scale, score_scale, out_scale, left,
    head_blocks,
    Q_TOKENS: gl.constexpr, GROUP: gl.constexpr, BOXES: gl.constexpr, KEPT: gl.constexpr,
    PACKED: gl.constexpr,
):  # fmt: skip
    """Scores, softmax and output of one row after the other; a warp is a KV head's, or a cut of it.

    A store in the middle of a share costs 3 us of reading, so the first results wait for its end in
    shared memory.
    """
    SLOTS: gl.constexpr = full.shape[0]
    HEADS: gl.constexpr = kept.shape[1]
    COUNT: gl.constexpr = kept.shape[2]
    WARPS: gl.constexpr = gl.num_warps()
    CUTS: gl.constexpr = WARPS // HEADS
    RESULTS: gl.constexpr = kept.shape[0] // kept_lse.shape[0]  # parts of head_dim
    PARTS: gl.constexpr = ring.shape[0] // (SLOTS * BOXES * CUTS)  # of head_dim
    EACH: gl.constexpr = RESULTS // PARTS
    PAD: gl.constexpr = q_smem.shape[4]  # of GROUP
    WIDTH: gl.constexpr = ring.shape[4]
    BOX: gl.constexpr = ring.shape[3]  # keys
    STEP: gl.constexpr = BOX * CUTS
    TILE: gl.constexpr = STEP * BOXES
    S: gl.constexpr = gl.NVMMADistributedLayout([2, 0], [WARPS, 1, 1], [1, 16, 8])
    LEFT: gl.constexpr = gl.DotOperandLayout(0, S, 2)
    RIGHT: gl.constexpr = gl.DotOperandLayout(1, S, 2)
    KEEP: gl.constexpr = gl.BlockedLayout([1, 1, 4], [1, 2, 16], [HEADS, CUTS, 1], [2, 1, 0])
    HEAD_ROWS: gl.constexpr = gl.SliceLayout(2, S)
    COLUMNS: gl.constexpr = gl.SliceLayout(0, gl.SliceLayout(1, S))
    token = gl.arange(0, ROWS, gl.SliceLayout(0, HEAD_ROWS))[None, :] // PAD
    key = gl.arange(0, BOX, COLUMNS)[None, :][:, None, :]
    key += gl.arange(0, WARPS, gl.SliceLayout(1, HEAD_ROWS))[:, None][:, :, None] // HEADS * BOX
    value = gl.arange(0, BOX, gl.SliceLayout(0, gl.SliceLayout(2, RIGHT)))[None, :][:, :, None]
    warp = gl.arange(0, WARPS, gl.SliceLayout(1, gl.SliceLayout(2, RIGHT)))[:, None][:, :, None]
    value += warp // HEADS * BOX
    of_warps = view(
        q_smem, q_smem.dtype, [q_smem.shape[0] // CUTS, WARPS, ROWS, q_smem.shape[5]],
        gl.NVMMASharedLayout(128, 16, 3),
    )  # fmt: skip
    boxes = view(
        ring, ring.dtype, [SLOTS * BOXES * PARTS, WARPS, BOX, WIDTH],
        gl.NVMMASharedLayout(WIDTH * 2, 16, 3),
    )  # fmt: skip
    if k_scale is not None:
        score_scale *= gl.load(k_scale)
    if v_scale is not None:
        out_scale *= gl.load(v_scale)
    count = 0
    turn = 0
    mbarrier.wait(note_full, 0)
    row = told(notes, turn, ROW)
    first_row = row
    first_piece = told(notes, turn, PIECE)
    while row >= 0:
        first = told(notes, turn, FIRST)
        last = told(notes, turn, LAST)
        seqlen = told(notes, turn, SEQLEN)
        piece = told(notes, turn, PIECE)
        free, whole = unmasked(seqlen, left, TILE, Q_TOKENS)
        mbarrier.arrive(note_empty, count=1)
        mbarrier.wait(q_full, turn & 1)
        queries, power = query_operands(of_warps, LEFT, HEAD_ROWS, max(8, COUNT), PACKED)
        row_scale = gl.full([WARPS, ROWS], score_scale, gl.float32, HEAD_ROWS) * power
        acc = ()
        for _ in gl.static_range(RESULTS):
            zeros = gl.zeros([WARPS, ROWS, WIDTH], gl.float32, S)
            acc = acc + (zeros,)  # type: ignore[assignment]
        mbarrier.arrive(q_empty, count=1)
        row_max = gl.full([WARPS, ROWS], -float("inf"), gl.float32, HEAD_ROWS)
        sums = gl.zeros([WARPS, ROWS, BOX], gl.float32, S)  # added up across columns at the end
        for tile in range(first, last):
            slot = count % SLOTS
            mbarrier.wait(full.index(slot), count // SLOTS & 1)
            scores = ()
            for box in gl.static_range(BOXES):
                some = gl.zeros([WARPS, ROWS, BOX], gl.float32, S)
                for part in gl.static_range(PARTS):
                    keys = boxes.index((slot * BOXES + box) * PARTS + part).permute([0, 2, 1])
                    keys = taken_apart(keys.load(RIGHT), PACKED)
                    for i in gl.static_range(EACH):
                        some = mma_v2(queries[part * EACH + i], keys[i], some)
                scores = scores + (some,)  # type: ignore[assignment]
            mbarrier.arrive(empty.index(slot), count=1)
            masked = (tile < free) | (tile >= whole)
            seen = ()
            for box in gl.static_range(BOXES):
                some = scores[box] * row_scale[:, :, None]
                if masked:
                    ahead = tile * TILE + box * STEP + key - (seqlen - Q_TOKENS + token)[:, :, None]
                    some = gl.where(ahead <= 0, some, -float("inf"))
                    if left is not None:
                        some = gl.where(ahead >= -left, some, -float("inf"))
                seen = seen + (some,)  # type: ignore[assignment]
            highest = seen[0]  # type: ignore[misc]
            for box in gl.static_range(1, BOXES):
                highest = gl.maximum(highest, seen[box])
            new_max = gl.maximum(row_max, gl.max(highest, 2))
            shift = gl.where(new_max == -float("inf"), 0.0, new_max)
            decay = gl.exp2(row_max - shift)[:, :, None]
            sums = sums * decay
            row_max = new_max
            weights = ()
            for box in gl.static_range(BOXES):
                weight = gl.exp2(seen[box] - shift[:, :, None])
                sums += weight
                weight = gl.convert_layout(weight.to(queries[0].dtype), LEFT)
                weights = weights + (weight,)  # type: ignore[assignment]
            count += 1
            slot = count % SLOTS
            mbarrier.wait(full.index(slot), count // SLOTS & 1)
            added = ()
            for part in gl.static_range(PARTS):
                products = ()
                for i in gl.static_range(EACH):
                    product = acc[part * EACH + i] * decay
                    products = products + (product,)  # type: ignore[assignment]
                for box in gl.static_range(BOXES):
                    held = boxes.index((slot * BOXES + box) * PARTS + part).load(RIGHT)
                    there = seqlen - tile * TILE - box * STEP
                    if there < STEP:  # never written: may be NaN, and 0 * NaN is NaN
                        held = gl.where(value < there, held, gl.zeros_like(held))
                    held = taken_apart(held, PACKED)
                    more = ()
                    for i in gl.static_range(EACH):
                        product = mma_v2(weights[box], held[i], products[i])
                        more = more + (product,)  # type: ignore[assignment]
                    products = more
                added = added + products
            acc = added
            mbarrier.arrive(empty.index(slot), count=1)
            count += 1
        row_sum = gl.sum(sums, 2)
        if CUTS > 1:
            results, row_lse = joined(acc, row_max, row_sum, out_scale, values, stats, HEADS, KEEP)
        else:
            results, row_lse = normalised(acc, row_max, row_sum, out_scale)
        turn += 1
        mbarrier.wait(note_full, turn & 1)
        next_row = told(notes, turn, ROW)
        if (next_row >= 0) & (turn <= KEPT):
            for part in gl.static_range(RESULTS):
                some = first_rows(results[part], COUNT)
                kept.index((turn - 1) * RESULTS + part).store(some)
            kept_lse.index(turn - 1).store(row_lse)
        else:
            write(
                results, row_lse, out, lse, piece_out, piece_lse, row, piece, head_blocks, PAD,
                Q_TOKENS, GROUP, EACH,
            )  # fmt: skip
        row = next_row
    barrier()
    for one in range(gl.minimum(turn - 1, KEPT)):
        results = ()
        for part in gl.static_range(RESULTS):
            result = kept.index(one * RESULTS + part).load(KEEP)
            results = results + (result,)
        row_lse = kept_lse.index(one).slice(0, COUNT, 1).load(gl.SliceLayout(2, KEEP))
        piece = gl.where(one == 0, first_piece, -1)
        write(
            results, row_lse, out, lse, piece_out, piece_lse, first_row + one, piece, head_blocks,
            PAD, Q_TOKENS, GROUP, EACH,
        )  # fmt: skip


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
    k_scale,  # fp32, one element, or None
    v_scale,
    score_scale,  # softmax_scale * log2(e), times k_scale where that is a number
    out_scale,  # v_scale where that is a number
    left,  # keys of the window before a query, or None
    batch,
    head_blocks,
    max_blocks,
    stride_table,
    MOST: gl.constexpr,  # sequences, a power of two, at least 32
    Q_TOKENS: gl.constexpr,
    GROUP: gl.constexpr,
    BLOCK_SIZE: gl.constexpr,
    SLOTS: gl.constexpr,  # of the ring
    BOXES: gl.constexpr,  # of 16 keys of a warp in a slot
    Q_PARTS: gl.constexpr,  # of head_dim, 64 columns each
    PARTS: gl.constexpr,  # of head_dim, up to 64 words each
    KEPT: gl.constexpr,  # results of a share that wait for its end
    COUNT: gl.constexpr,  # query rows of a KV head, a power of two
    PACKED: gl.constexpr,  # "none", or how the two entries of a word are taken apart
):
    """Grid (multiprocessors,); eight warps, and the producer's."""
    HEADS: gl.constexpr = k_desc.block_type.shape[1]
    CUTS: gl.constexpr = gl.num_warps() // HEADS
    RESULTS: gl.constexpr = PARTS if PACKED == "none" else 2 * PARTS
    q_smem = gl.allocate_shared_memory(
        q_desc.dtype, [Q_PARTS * CUTS] + q_desc.block_type.shape, q_desc.layout
    )
    ring = gl.allocate_shared_memory(
        k_desc.dtype, [SLOTS * BOXES * PARTS * CUTS] + k_desc.block_type.shape, k_desc.layout
    )
    WIDTH: gl.constexpr = k_desc.block_type.shape[3]
    SWIZZLED: gl.constexpr = gl.SwizzledSharedLayout(4, 1, 8, [2, 1, 0])
    PLAIN: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [1, 0])
    kept = gl.allocate_shared_memory(gl.float32, [KEPT * RESULTS, HEADS, COUNT, WIDTH], SWIZZLED)
    kept_lse = gl.allocate_shared_memory(
        gl.float32, [KEPT, HEADS, ROWS if CUTS == 1 else COUNT], PLAIN
    )
    values = kept
    stats = kept_lse
    if CUTS > 1:  # where warps leave what they have of a row
        values = gl.allocate_shared_memory(
            gl.float32, [RESULTS, gl.num_warps(), COUNT, WIDTH], SWIZZLED
        )
        stats = gl.allocate_shared_memory(gl.float32, [2, gl.num_warps(), ROWS], PLAIN)
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
                out, lse, piece_out, piece_lse, q_smem, ring, kept, kept_lse, values, stats, notes,
                q_full, q_empty, full, empty, note_full, note_empty, k_scale, v_scale, score_scale,
                out_scale, left, head_blocks, Q_TOKENS, GROUP, BOXES, KEPT, PACKED,
            )),
            (produce, (
                q_desc, k_desc, v_desc, block_table, cache_seqlens, q_smem, ring, notes, q_full,
                q_empty, full, empty, note_full, note_empty, batch, head_blocks, max_blocks, left,
                stride_table, MOST, Q_TOKENS, BLOCK_SIZE, BOXES * CUTS, CUTS,
            )),
        ],
        [1],
        [56],
    )  # fmt: skip
