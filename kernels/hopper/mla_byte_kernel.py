"""MLA decode of up to 32 query rows over 8-bit latents, for Hopper.

Tensor cores take 64 rows at a time, and a decode step has as few as 16 queries. The scores fill
them with the queries' parts (`kernels.hopper.byte_scores`). For the output the product is turned
over, latents transposed times weights, [columns, queries]: the latents are then the left operand,
which may lie in registers, and are widened to fp16 between shared memory and the tensor cores,
never written back.

The roles are those of `kernels.hopper.mla_kernel`: a producer warp fills a ring of tiles by TMA, a
warpgroup computes scores and softmax, two multiply half of the value columns each. The cache comes
as 16-bit words of two entries. Works with the Gluon of Triton 3.6 to 3.9.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.byte_queries import (
    NARROW,
    PIECE,
    PIECES,
    QUERIES,
    WIDE,
    load_queries,
)
from kernels.hopper.byte_scores import HALF, ROPE, score
from kernels.hopper.mla_kept import KEPT, NUMBERS, PLAIN, keep, query_row
from kernels.hopper.mla_kernel import LEFT, RIGHT, clear_past, produce
from kernels.hopper.mla_results import has_result, result_place, store_result
from kernels.hopper.mla_work import KEYS, ask, assign, sequence_of, turns
from kernels.hopper.names import barrier, fence, mma, mma_wait
from kernels.hopper.softmax import rescale_columns
from kernels.packed_bytes import unpack_bytes


@gluon.jit
def free_operands():
    """Until two products are under way: the registers of those before are free then."""
    gl.inline_asm_elementwise(
        "wgmma.wait_group.sync.aligned 2; mov.b32 $0, 0;", "=r", [],
        dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@gluon.jit
def _accumulate(
    given, work, held, kept, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, ROWS: gl.constexpr,
    PACKED: gl.constexpr, Q_TYPE: gl.constexpr, SIDE: gl.constexpr,
):  # fmt: skip
    """Half of the output's columns: that half of every tile, transposed, times the weights.

    The left one brings in the queries, always of the next sequence.
    """
    (
        out_ptr, piece_out, factors, q_nope, q_rope, nope_ring, weight_ring, decay_ring, end_smem,
        q_full, q_empty, k_full, k_empty, weight_full, end_full, end_empty,
    ) = given  # fmt: skip
    STAGES: gl.constexpr = k_full.shape[0]
    STEP: gl.constexpr = 32 if ROWS == 16 else 16  # keys widened at once
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, ROWS, 16])
    O_ROWS: gl.constexpr = gl.SliceLayout(0, O_LAYOUT)
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 2)
    before = 0  # tiles before a sequence's first one
    ends = turns(work)
    for turn in range(-1 if SIDE == LEFT else 0, ends):
        if SIDE == LEFT:  # noqa: SIM102 (known to the compiler, the other is not)
            if turn + 1 < ends:
                seq, _, _, _ = sequence_of(work, held, turn + 1)
                mbarrier.wait(q_empty, turn & 1)
                load_queries(
                    work, kept, seq, q_nope, q_rope, factors, HEADS, Q_TOKENS, ROWS, Q_TYPE
                )
                fence()
                mbarrier.arrive(q_full, count=1)
        if turn >= 0:
            _, seqlen, first, last = sequence_of(work, held, turn)
            before -= first
            even = gl.zeros([HALF, ROWS], gl.float32, O_LAYOUT)
            odd = gl.zeros([HALF, ROWS], gl.float32, O_LAYOUT)
            for tile in range(first, last):
                count = before + tile
                slot = count % STAGES
                words = nope_ring.index(slot * 2 + SIDE).reshape([KEYS, HALF])
                mbarrier.wait(k_full.index(slot), count // STAGES & 1)
                if seqlen - tile * KEYS < KEYS:
                    clear_past(words, seqlen - tile * KEYS)
                packed = words.slice(0, STEP, dim=0).permute([1, 0]).load(A_LAYOUT)
                earlier, later = unpack_bytes(packed, PACKED, gl.float16)
                packed = words.slice(STEP, STEP, dim=0).permute([1, 0]).load(A_LAYOUT)
                mbarrier.wait(weight_full.index(slot), count // STAGES & 1)
                decay = decay_ring.index(slot).slice(0, ROWS, dim=0).load(O_ROWS)
                even = rescale_columns(even, decay)
                odd = rescale_columns(odd, decay)
                for step in gl.static_range(KEYS // STEP):
                    weights = weight_ring.index(slot).slice(0, ROWS, dim=0)
                    weights = weights.slice(step * STEP, STEP, dim=1).permute([1, 0])
                    even = mma(earlier, weights, even, is_async=True)
                    odd = mma(later, weights, odd, is_async=True)
                    if step + 1 < KEYS // STEP:
                        earlier, later = unpack_bytes(packed, PACKED, gl.float16)
                        if step + 2 < KEYS // STEP:
                            following = words.slice((step + 2) * STEP, STEP, dim=0)
                            packed = following.permute([1, 0]).load(A_LAYOUT)
                        free_operands()
                even, odd = mma_wait(0, deps=[even, odd])
                mbarrier.arrive(k_empty.index(slot), count=1)
            mbarrier.wait(end_full, turn & 1)
            # Neighbouring columns lie in one thread, so they go out together.
            both = gl.join(even, odd).permute([0, 2, 1]).reshape([2 * HALF, ROWS])
            BOTH: gl.constexpr = both.type.layout
            B_ROWS: gl.constexpr = gl.SliceLayout(0, BOTH)
            factor = end_smem.slice(0, ROWS, dim=0).load(B_ROWS)[None, :]
            mbarrier.arrive(end_empty, count=1)
            row = query_row(work, ROWS, ROWS, B_ROWS)
            column = SIDE * 2 * HALF + gl.arange(0, 2 * HALF, gl.SliceLayout(1, BOTH))
            place, piece = result_place(row, work, held, turn, HEADS * Q_TOKENS)
            wanted = has_result(row, work, held, turn, HEADS * Q_TOKENS)
            store_result(
                both * factor, out_ptr, piece_out, place[None, :] * (4 * HALF), column[:, None],
                piece, wanted[None, :] & (column >= 0)[:, None],
            )  # fmt: skip
            before += last


@gluon.jit(do_not_specialize=["batch", "num_splits", "max_blocks"])
def hopper_mla_byte_kernel(
    q_nope,  # [batch, q_tokens, heads, 512]
    q_rope,  # [batch, q_tokens, heads, 64]
    nope_desc,  # [num_blocks, block_size, 288] words, 128 columns at a time
    rope_desc,  # the same, 32 columns at a time
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
    ROWS: gl.constexpr,  # of queries: 16 or 32
    STAGES: gl.constexpr,
    PACKED: gl.constexpr,  # what the words hold
):
    """Grid (blocks of ROWS query rows, splits, batch), or (blocks, shares, 1); 4 warps are asked
    for, 16 run.
    """
    PART: gl.constexpr = nope_desc.block_type.shape[1]
    asked = ask(cache_seqlens, batch, num_splits, max_blocks * BLOCK_SIZE, MOST)
    dtype: gl.constexpr = gl.int8 if PACKED == "int8_ptx" else gl.float8e4nv
    nope_ring = gl.allocate_shared_memory(
        gl.int16, [2 * STAGES, KEYS // PART, PART, HALF], nope_desc.layout
    )
    rope_ring = gl.allocate_shared_memory(
        gl.int16, [STAGES, KEYS // PART, PART, ROPE], rope_desc.layout
    )
    ROW_WISE: gl.constexpr = gl.NVMMASharedLayout(128, 16, 2)
    q_nope_smem = gl.allocate_shared_memory(dtype, [PIECES, 2 * QUERIES, PIECE], WIDE)
    q_rope_smem = gl.allocate_shared_memory(dtype, [2 * QUERIES, 2 * ROPE], NARROW)
    factor_smem = gl.allocate_shared_memory(gl.float32, [QUERIES], PLAIN)
    weight_ring = gl.allocate_shared_memory(gl.float16, [STAGES, QUERIES, KEYS], ROW_WISE)
    decay_ring = gl.allocate_shared_memory(gl.float32, [STAGES, QUERIES], PLAIN)
    end_smem = gl.allocate_shared_memory(gl.float32, [QUERIES], PLAIN)
    q_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    q_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    weight_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    end_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    end_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    work = gl.allocate_shared_memory(gl.int32, [NUMBERS, 1], PLAIN)
    held = gl.allocate_shared_memory(gl.int32, [MOST, 1], PLAIN)
    kept = gl.allocate_shared_memory(gl.int64, [KEPT, 1], PLAIN)
    keep(
        kept, q_nope, q_rope, lse, piece_lse, ends, block_table, stride_table,
        (stride_nb, stride_nt, stride_nh, stride_rb, stride_rt, stride_rh),
    )  # fmt: skip
    mbarrier.init(q_full, count=1)
    mbarrier.init(q_empty, count=1)
    mbarrier.init(end_full, count=1)
    mbarrier.init(end_empty, count=2)
    for slot in gl.static_range(STAGES):
        mbarrier.init(k_full.index(slot), count=1)
        mbarrier.init(k_empty.index(slot), count=2)
        mbarrier.init(weight_full.index(slot), count=1)
    if latent_scale is not None:
        out_scale = gl.load(latent_scale)
        score_scale *= out_scale
    assign(asked, batch, num_splits, score_scale, out_scale, work, held)
    fence()
    barrier()
    values = (
        out, piece_out, factor_smem, q_nope_smem, q_rope_smem, nope_ring, weight_ring, decay_ring,
        end_smem, q_full, q_empty, k_full, k_empty, weight_full, end_full, end_empty,
    )  # fmt: skip
    scores = (
        factor_smem, q_nope_smem, q_rope_smem, nope_ring, rope_ring, weight_ring, decay_ring,
        end_smem, q_full, q_empty, k_full, weight_full, end_full, end_empty,
    )  # fmt: skip
    Q_TYPE: gl.constexpr = q_nope.dtype.element_ty
    gl.warp_specialize(
        [
            (_accumulate, (
                values, work, held, kept, HEADS, Q_TOKENS, ROWS, PACKED, Q_TYPE, LEFT
            )),
            (_accumulate, (
                values, work, held, kept, HEADS, Q_TOKENS, ROWS, PACKED, Q_TYPE, RIGHT
            )),
            (score, (scores, work, held, kept, HEADS, Q_TOKENS, ROWS)),
            (produce, (
                work, held, kept, nope_desc, rope_desc, nope_ring, rope_ring, k_full, k_empty,
                BLOCK_SIZE, OVERLAP_LAUNCH,
            )),
        ],
        [4, 4, 1],
        [136, 200, 40],
    )  # fmt: skip
