"""MLA decode for Hopper in Gluon: a producer warp, one warpgroup for scores, two for the output.

A program takes 64 query rows over a run of 64-key tiles. The producer fills a ring of two tiles by
TMA, page by page; over an 8-bit cache a warpgroup in its place also widens them to fp16
(`kernels.hopper.widen`). One warpgroup computes the scores and the softmax and passes the weights
through shared memory; the other two multiply them by the same tile, each for half of the output's
columns. So the scores of the next tile run beside the values of this one. Works with the Gluon of
Triton 3.6 to 3.9.
"""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.mla_queries import HALF, ROPE, ROWS, load_queries
from kernels.hopper.names import barrier, fence, load_tile, mma, mma_wait
from kernels.hopper.softmax import partial_sums
from kernels.hopper.widen import AHEAD, widen

KEYS = gl.constexpr(64)
STAGES = gl.constexpr(2)
LEFT, RIGHT = gl.constexpr(0), gl.constexpr(1)


@gluon.jit
def produce(
    nope_desc, rope_desc, table, nope_ring, rope_ring, k_full, k_empty, seqlen, begin, end,
    BLOCK_SIZE: gl.constexpr, OVERLAP_LAUNCH: gl.constexpr,
):  # fmt: skip
    """Fill the ring. A page past the end is page -1, outside the cache: TMA fills in zeros."""
    PART: gl.constexpr = nope_desc.block_type.shape[1]  # keys that share a page
    WIDTH: gl.constexpr = nope_desc.block_type.shape[2]  # of half the rank
    TURNED: gl.constexpr = rope_desc.block_type.shape[2]
    RING: gl.constexpr = k_full.shape[0]
    TILE: gl.constexpr = PART * nope_ring.shape[1]
    for tile in range(begin, end):
        count = tile - begin
        slot = count % RING
        pages = ()
        for part in gl.static_range(TILE // PART):
            key = tile * TILE + part * PART
            page = gl.load(table + key // BLOCK_SIZE, mask=key < seqlen, other=-1)
            pages = pages + (page,)  # type: ignore[assignment]
        mbarrier.wait(k_empty.index(slot), count // RING & 1 ^ 1)
        full = k_full.index(slot)
        mbarrier.expect(full, TILE * (2 * WIDTH + TURNED) * 2)
        for part in gl.static_range(TILE // PART):
            row = (tile * TILE + part * PART) % BLOCK_SIZE
            for half in gl.static_range(2):
                target = nope_ring.index(slot * 2 + half).slice(part, 1, dim=0)
                load_tile(nope_desc, [pages[part], row, half * WIDTH], full, target)
            target = rope_ring.index(slot).slice(part, 1, dim=0)
            load_tile(rope_desc, [pages[part], row, 2 * WIDTH], full, target)
    if OVERLAP_LAUNCH:
        gl.inline_asm_elementwise(
            "griddepcontrol.launch_dependents; mov.b32 $0, 0;", "=r", [], dtype=gl.int32,
            is_pure=False, pack=1,
        )  # fmt: skip


@gluon.jit
def result_place(row, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr):
    """Where a query row's result of this split goes. The grid is asked again, not remembered."""
    first = gl.program_id(2) * (HEADS * Q_TOKENS)
    return (first + row).to(gl.int64) * gl.num_programs(1) + gl.program_id(1)


@gluon.jit
def _score(given, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr):
    """Scores and softmax of every tile. Each row's decay goes ahead of its weights."""
    (
        nope_ptr, rope_ptr, lse_ptr, q_nope, q_rope, seen, scales, nope_ring, rope_ring,
        weight_smem, decay_smem, k_full, decay_full, weight_full, weight_empty, free, seqlen, begin,
        end, scale, out_scale, stride_nt, stride_nh, stride_rt, stride_rh,
    ) = given  # fmt: skip
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 16])
    S_ROWS: gl.constexpr = gl.SliceLayout(1, S_LAYOUT)
    load_queries(
        nope_ptr, rope_ptr, q_nope, q_rope, seen, scales, seqlen, scale, stride_nt, stride_nh,
        stride_rt, stride_rh, HEADS, Q_TOKENS,
    )  # fmt: skip
    fence()
    barrier()
    # Registers hold what fits: operands in shared memory cost as much bandwidth as the keys.
    q_left = q_nope.index(0).load(gl.DotOperandLayout(0, S_LAYOUT, 2))
    fence()
    mbarrier.arrive(free, count=1)  # of that half's memory
    column = gl.arange(0, KEYS, gl.SliceLayout(0, S_LAYOUT))
    row_max = gl.full([ROWS], -float("inf"), gl.float32, S_ROWS)
    row_sum = partial_sums(gl.zeros([ROWS, KEYS], gl.float32, S_LAYOUT))
    for tile in range(begin, end):
        count = tile - begin
        slot = count % STAGES
        mbarrier.wait(k_full.index(slot), count // STAGES & 1)
        left = nope_ring.index(slot * 2).reshape([KEYS, HALF])
        right = nope_ring.index(slot * 2 + 1).reshape([KEYS, HALF])
        turned = rope_ring.index(slot).reshape([KEYS, ROPE])
        scores = gl.zeros([ROWS, KEYS], gl.float32, S_LAYOUT)
        scores = mma(q_left, left.permute([1, 0]), scores, use_acc=False, is_async=True)
        scores = mma(q_nope.index(1), right.permute([1, 0]), scores, is_async=True)
        scores = mma(q_rope, turned.permute([1, 0]), scores, is_async=True)
        scores = mma_wait(0, deps=[scores])
        if (tile + 1) * KEYS > seqlen - Q_TOKENS + 1:
            limit = seen.load(S_ROWS) - tile * KEYS
            scores = gl.where(column[None, :] < limit[:, None], scores, -float("inf"))
        if nope_ptr.dtype.element_ty == q_rope.dtype:
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
    steps = end - begin
    decay_smem.index(steps % STAGES).store(out_scale / total)
    mbarrier.arrive(decay_full.index(steps % STAGES), count=1)
    row = gl.program_id(0) * ROWS + gl.arange(0, ROWS, S_ROWS)
    result = result_place(row, HEADS, Q_TOKENS)
    lse = (row_max + gl.log2(total)) * 0.6931471805599453
    gl.store(lse_ptr + result, lse, mask=row < HEADS * Q_TOKENS)


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
def _accumulate(given, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, SIDE: gl.constexpr):
    """Half of the output's columns: the weights times that half of every tile."""
    (
        out_ptr, nope_ring, weight_smem, decay_smem, k_full, k_empty, decay_full, weight_full,
        weight_empty, seqlen, begin, end,
    ) = given  # fmt: skip
    # 128 columns an instruction: 256 do not compile where 16 warps share the registers.
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 128, 16])
    O_ROWS: gl.constexpr = gl.SliceLayout(1, O_LAYOUT)
    acc = gl.zeros([ROWS, HALF], gl.float32, O_LAYOUT)
    for tile in range(begin, end):
        count = tile - begin
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
    steps = end - begin
    mbarrier.wait(decay_full.index(steps % STAGES), steps // STAGES & 1)
    acc = acc * decay_smem.index(steps % STAGES).load(O_ROWS)[:, None]
    row = gl.program_id(0) * ROWS + gl.arange(0, ROWS, O_ROWS)
    column = SIDE * HALF + gl.arange(0, HALF, gl.SliceLayout(0, O_LAYOUT))
    result = result_place(row, HEADS, Q_TOKENS) * (2 * HALF)
    wanted = (row < HEADS * Q_TOKENS) & ((begin < end) | (gl.num_programs(1) == 1))
    gl.store(
        out_ptr + result[:, None] + column[None, :],
        acc.to(out_ptr.dtype.element_ty),
        mask=wanted[:, None] & (column >= 0)[None, :],
    )


@gluon.jit(do_not_specialize=["num_splits", "max_blocks"])
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
    score_scale,  # softmax_scale * log2(e), times latent_scale where that is a number
    out_scale,  # latent_scale where that is a number
    num_splits,
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
    PACKED: gl.constexpr,  # the cache is int16 words of two entries, widened to fp16
):
    """Grid (blocks of 64 query rows, splits, batch); 4 warps are asked for, 16 run."""
    dtype: gl.constexpr = nope_desc.dtype if PACKED == "none" else gl.float16
    TILE: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    PART: gl.constexpr = nope_desc.block_type.shape[1]
    split = gl.program_id(1)
    seq = gl.program_id(2)
    seqlen = gl.minimum(gl.maximum(gl.load(cache_seqlens + seq), 0), max_blocks * BLOCK_SIZE)
    tiles = gl.cdiv(seqlen, KEYS)
    begin = split * tiles // num_splits
    end = (split + 1) * tiles // num_splits
    nope_ptr = q_nope + seq.to(gl.int64) * stride_nb
    rope_ptr = q_rope + seq.to(gl.int64) * stride_rb
    table = block_table + seq.to(gl.int64) * stride_table

    q_nope_smem = gl.allocate_shared_memory(dtype, [2, ROWS, HALF], TILE)
    q_rope_smem = gl.allocate_shared_memory(dtype, [ROWS, ROPE], TILE)
    RING: gl.constexpr = gl.NVMMASharedLayout(128, 16, 3)
    nope_ring = gl.allocate_shared_memory(dtype, [2 * STAGES, KEYS // PART, PART, HALF], RING)
    rope_ring = gl.allocate_shared_memory(dtype, [STAGES, KEYS // PART, PART, ROPE], RING)
    weight_smem = gl.allocate_shared_memory(dtype, [ROWS, KEYS], TILE)
    PLAIN: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])
    seen_smem = gl.allocate_shared_memory(gl.int32, [ROWS], PLAIN)
    scale_smem = gl.allocate_shared_memory(gl.float32, [ROWS], PLAIN)
    decay_smem = gl.allocate_shared_memory(gl.float32, [STAGES, ROWS], PLAIN)
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    decay_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    weight_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    weight_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    staged = gl.allocate_shared_memory(gl.int64, [AHEAD, 1], mbarrier.MBarrierLayout())
    for slot in gl.static_range(STAGES):
        mbarrier.init(k_full.index(slot), count=1)
        mbarrier.init(k_empty.index(slot), count=2)
        mbarrier.init(decay_full.index(slot), count=1)
    for place in gl.static_range(AHEAD):
        mbarrier.init(staged.index(place), count=1)
    mbarrier.init(weight_full, count=1)
    mbarrier.init(weight_empty, count=2)
    mbarrier.init(free, count=1)
    if latent_scale is not None:
        out_scale = gl.load(latent_scale)
        score_scale *= out_scale
    fence()
    barrier()
    values = (
        out, nope_ring, weight_smem, decay_smem, k_full, k_empty, decay_full, weight_full,
        weight_empty, seqlen, begin, end,
    )  # fmt: skip
    scores = (
        nope_ptr, rope_ptr, lse, q_nope_smem, q_rope_smem, seen_smem, scale_smem, nope_ring,
        rope_ring, weight_smem, decay_smem, k_full, decay_full, weight_full, weight_empty, free,
        seqlen, begin, end, score_scale, out_scale, stride_nt, stride_nh, stride_rt, stride_rh,
    )  # fmt: skip
    if PACKED == "none":
        gl.warp_specialize(
            [
                (_accumulate, (values, HEADS, Q_TOKENS, LEFT)),
                (_accumulate, (values, HEADS, Q_TOKENS, RIGHT)),
                (_score, (scores, HEADS, Q_TOKENS)),
                (produce, (
                    nope_desc, rope_desc, table, nope_ring, rope_ring, k_full, k_empty,
                    seqlen, begin, end, BLOCK_SIZE, OVERLAP_LAUNCH,
                )),
            ],
            [4, 4, 1],
            [160, 152, 40],
        )  # fmt: skip
    else:
        gl.warp_specialize(
            [
                (_accumulate, (values, HEADS, Q_TOKENS, LEFT)),
                (_accumulate, (values, HEADS, Q_TOKENS, RIGHT)),
                (_score, (scores, HEADS, Q_TOKENS)),
                (widen, (
                    nope_desc, rope_desc, table, q_nope_smem.index(0), staged, free, nope_ring,
                    rope_ring, k_full, k_empty, seqlen, begin, end, BLOCK_SIZE, PACKED,
                    OVERLAP_LAUNCH,
                )),
            ],
            [4, 4, 4],
            [160, 160, 32],
        )  # fmt: skip
