"""MLA decode of up to 32 query rows over fp8 latents, for Hopper: keys are both products' rows.

Tensor cores take 64 rows at a time, and a decode step has as few as 16 queries. So the products are
turned over: scores are latents times queries, [keys, queries], and the output is latents transposed
times weights, [columns, queries]. The latents are then the left operand, which may lie in
registers: values are widened to fp16 between shared memory and the tensor cores, and never written
back.

The roles are those of `kernels.hopper_mla_kernel`: a producer warp fills a ring of tiles by TMA, a
warpgroup computes scores and softmax, two multiply half of the value columns each. Where latents
are widened for the scores too, two warpgroups take turns at them. The cache comes as 16-bit words
of two entries. Works with the Gluon of Triton 3.6 to 3.9.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper_fp8_scores import (
    HALF,
    KEYS,
    ROPE,
    free_operands,
    load_queries,
    score,
)
from kernels.hopper_mla_kernel import (
    LEFT,
    RIGHT,
    barrier,
    clear_past,
    fence,
    mma,
    mma_wait,
    produce,
    result_place,
)
from kernels.hopper_softmax import rescale_columns
from kernels.packed_bytes import unpack_bytes


@gluon.jit
def _accumulate(
    given, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, DIRECT: gl.constexpr, SIDE: gl.constexpr
):
    """Half of the output's columns: that half of every tile, transposed, times the weights.

    The left one brings in the queries: its first weights are long in coming.
    """
    (
        out_ptr, nope_ptr, rope_ptr, scales, q_nope, q_rope, nope_ring, weight_smem, decay_smem,
        end_smem, q_full, k_full, k_empty, weight_full, end_full, seqlen, begin, end, scale,
        stride_nt, stride_nh, stride_rt, stride_rh,
    ) = given  # fmt: skip
    ROWS: gl.constexpr = weight_smem.shape[1]
    STAGES: gl.constexpr = k_full.shape[0]
    STEP: gl.constexpr = 32 if DIRECT and ROWS == 16 else 16  # keys widened at once
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, ROWS, 16])
    O_ROWS: gl.constexpr = gl.SliceLayout(0, O_LAYOUT)
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    if SIDE == LEFT:
        load_queries(
            nope_ptr, rope_ptr, stride_nt, stride_nh, stride_rt, stride_rh, q_nope, q_rope, scales,
            scale, HEADS, Q_TOKENS, DIRECT,
        )  # fmt: skip
        fence()
        mbarrier.arrive(q_full, count=1)
    even = gl.zeros([HALF, ROWS], gl.float32, O_LAYOUT)
    odd = gl.zeros([HALF, ROWS], gl.float32, O_LAYOUT)
    for tile in range(begin, end):
        count = tile - begin
        slot = count % STAGES
        place = count % 2
        words = nope_ring.index(slot * 2 + SIDE).reshape([KEYS, HALF])
        mbarrier.wait(k_full.index(slot), count // STAGES & 1)
        if seqlen - tile * KEYS < KEYS:
            clear_past(words, seqlen - tile * KEYS)
        held = words.slice(0, STEP, dim=0).permute([1, 0]).load(A_LAYOUT)
        first, second = unpack_bytes(held, "fp8_ptx", gl.float16)
        held = words.slice(STEP, STEP, dim=0).permute([1, 0]).load(A_LAYOUT)
        mbarrier.wait(weight_full.index(place), count // 2 & 1)
        decay = decay_smem.index(place).load(O_ROWS)
        even = rescale_columns(even, decay)
        odd = rescale_columns(odd, decay)
        for step in gl.static_range(KEYS // STEP):
            weights = weight_smem.index(place).slice(step * STEP, STEP, dim=1).permute([1, 0])
            even = mma(first, weights, even, is_async=True)
            odd = mma(second, weights, odd, is_async=True)
            if step + 1 < KEYS // STEP:
                first, second = unpack_bytes(held, "fp8_ptx", gl.float16)
                if step + 2 < KEYS // STEP:
                    following = words.slice((step + 2) * STEP, STEP, dim=0)
                    held = following.permute([1, 0]).load(A_LAYOUT)
                free_operands()
        even, odd = mma_wait(0, deps=[even, odd])
        mbarrier.arrive(k_empty.index(slot), count=1)
    mbarrier.wait(end_full.index(1), 0)
    factor = end_smem.index(2).load(O_ROWS)[None, :]
    row = gl.program_id(0) * ROWS + gl.arange(0, ROWS, O_ROWS)
    column = SIDE * 2 * HALF + 2 * gl.arange(0, HALF, gl.SliceLayout(1, O_LAYOUT))
    result = result_place(row, HEADS, Q_TOKENS) * (4 * HALF)
    wanted = (row < HEADS * Q_TOKENS) & ((begin < end) | (gl.num_programs(1) == 1))
    wanted = wanted[None, :] & (column >= 0)[:, None]
    target = out_ptr + result[None, :] + column[:, None]
    gl.store(target, (even * factor).to(out_ptr.dtype.element_ty), mask=wanted)
    gl.store(target + 1, (odd * factor).to(out_ptr.dtype.element_ty), mask=wanted)


@gluon.jit(do_not_specialize=["num_splits", "max_blocks"])
def hopper_mla_fp8_kernel(
    q_nope,  # [batch, q_tokens, heads, 512]
    q_rope,  # [batch, q_tokens, heads, 64]
    nope_desc,  # [num_blocks, block_size, 288] words, 128 columns at a time
    rope_desc,  # the same, 32 columns at a time
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
    ROWS: gl.constexpr,
    STAGES: gl.constexpr,
    DIRECT: gl.constexpr,  # fp8 latents times bf16 queries, which are the sum of two fp8 numbers
):
    """Grid (blocks of ROWS query rows, splits, batch); 4 warps are asked for, 16 or 20 run."""
    PART: gl.constexpr = nope_desc.block_type.shape[1]
    ROW_LAYOUT: gl.constexpr = gl.BlockedLayout([1], [32], [4], [0])
    split = gl.program_id(1)
    seq = gl.program_id(2)
    seqlen = gl.minimum(gl.maximum(gl.load(cache_seqlens + seq), 0), max_blocks * BLOCK_SIZE)
    tiles = gl.cdiv(seqlen, KEYS)
    begin = split * tiles // num_splits
    end = (split + 1) * tiles // num_splits
    nope_ptr = q_nope + seq.to(gl.int64) * stride_nb
    rope_ptr = q_rope + seq.to(gl.int64) * stride_rb
    table = block_table + seq.to(gl.int64) * stride_table

    WIDE: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    PLAIN: gl.constexpr = gl.SwizzledSharedLayout(1, 1, 1, [0])
    NARROW: gl.constexpr = gl.NVMMASharedLayout(64, 16, 2)
    if DIRECT:
        q_nope_smem = gl.allocate_shared_memory(
            gl.float8e4nv, [2, 2 * ROWS, 2 * HALF], gl.NVMMASharedLayout(128, 8, 2)
        )
        q_rope_smem = gl.allocate_shared_memory(
            gl.float8e4nv, [2 * ROWS, 2 * ROPE], gl.NVMMASharedLayout(64, 8, 2)
        )
    else:
        q_nope_smem = gl.allocate_shared_memory(gl.float16, [4, ROWS, HALF], WIDE)
        q_rope_smem = gl.allocate_shared_memory(gl.float16, [2, ROWS, ROPE], NARROW)
    nope_ring = gl.allocate_shared_memory(
        gl.int16, [2 * STAGES, KEYS // PART, PART, HALF], nope_desc.layout
    )
    rope_ring = gl.allocate_shared_memory(
        gl.int16, [STAGES, KEYS // PART, PART, ROPE], rope_desc.layout
    )
    weight_smem = gl.allocate_shared_memory(gl.float16, [2, ROWS, KEYS], WIDE)
    decay_smem = gl.allocate_shared_memory(gl.float32, [2, ROWS], PLAIN)
    max_smem = gl.allocate_shared_memory(gl.float32, [2, ROWS], PLAIN)
    end_smem = gl.allocate_shared_memory(gl.float32, [3, ROWS], PLAIN)
    scale_smem = gl.allocate_shared_memory(gl.float32, [ROWS], PLAIN)
    q_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    weight_full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    max_full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    end_full = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    mbarrier.init(q_full, count=1)
    for slot in gl.static_range(STAGES):
        mbarrier.init(k_full.index(slot), count=1)
        mbarrier.init(k_empty.index(slot), count=2)
    for place in gl.static_range(2):
        mbarrier.init(weight_full.index(place), count=1)
        mbarrier.init(max_full.index(place), count=1)
        mbarrier.init(end_full.index(place), count=1)
    max_smem.index(1).store(gl.full([ROWS], -float("inf"), gl.float32, ROW_LAYOUT))
    if latent_scale is not None:
        out_scale = gl.load(latent_scale)
        score_scale *= out_scale
    fence()
    barrier()
    values = (
        out, nope_ptr, rope_ptr, scale_smem, q_nope_smem, q_rope_smem, nope_ring, weight_smem,
        decay_smem, end_smem, q_full, k_full, k_empty, weight_full, end_full, seqlen, begin, end,
        score_scale, stride_nt, stride_nh, stride_rt, stride_rh,
    )  # fmt: skip
    scores = (
        lse, scale_smem, q_nope_smem, q_rope_smem, nope_ring, rope_ring, weight_smem, decay_smem,
        max_smem, end_smem, q_full, k_full, k_empty, weight_full, max_full, end_full, seqlen,
        begin, end, out_scale,
    )  # fmt: skip
    if not DIRECT:
        gl.warp_specialize(
            [
                (_accumulate, (values, HEADS, Q_TOKENS, DIRECT, LEFT)),
                (_accumulate, (values, HEADS, Q_TOKENS, DIRECT, RIGHT)),
                (score, (scores, HEADS, Q_TOKENS, DIRECT, 0)),
                (score, (scores, HEADS, Q_TOKENS, DIRECT, 1)),
                (produce, (
                    nope_desc, rope_desc, table, nope_ring, rope_ring, k_full, k_empty, seqlen,
                    begin, end, BLOCK_SIZE, OVERLAP_LAUNCH,
                )),
            ],
            [4, 4, 4, 1],
            [104, 120, 120, 32],
        )  # fmt: skip
    else:
        VALUE_REGISTERS: gl.constexpr = 176 if ROWS == 16 else 128
        gl.warp_specialize(
            [
                (_accumulate, (values, HEADS, Q_TOKENS, DIRECT, LEFT)),
                (_accumulate, (values, HEADS, Q_TOKENS, DIRECT, RIGHT)),
                (score, (scores, HEADS, Q_TOKENS, DIRECT, 0)),
                (produce, (
                    nope_desc, rope_desc, table, nope_ring, rope_ring, k_full, k_empty, seqlen,
                    begin, end, BLOCK_SIZE, OVERLAP_LAUNCH,
                )),
            ],
            [4, 4, 1],
            [VALUE_REGISTERS, 480 - 2 * VALUE_REGISTERS, 32],
        )  # fmt: skip
