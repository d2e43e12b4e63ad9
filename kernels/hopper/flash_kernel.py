"""Flash attention for Hopper in Gluon: one producer warp feeds two or three consumer warpgroups.

Each consumer owns 64 query rows (flash_consumer.py). K and V pass through rings of STAGES tiles,
filled by TMA (flash_producer.py). Rank-4 descriptors [batch, head, row, dim] keep every load and
store inside its head. Works with the Gluon of Triton 3.6 to 3.9.
"""

# ruff: noqa: RUF005 (Gluon has no list unpacking)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.flash_consumer import consume
from kernels.hopper.flash_producer import NOTES, produce
from kernels.hopper.names import barrier, fence

FIRST, SECOND, THIRD = gl.constexpr(0), gl.constexpr(1), gl.constexpr(2)


@gluon.jit(
    do_not_specialize=["total", "tiles", "kv_heads", "section", "seqlen_q", "seqlen_k"]
    + ["left", "right", "sequences"]
)
def hopper_flash_kernel(
    q_desc, k_desc, v_desc, out_desc, lse_ptr, q_scale_ptr, k_scale_ptr, v_scale_ptr, counter_ptr,
    total, tiles, kv_heads, section, seqlen_q, seqlen_k, scale, value_scale, left, right,
    cu_q_ptr, cu_k_ptr, sequences,
    GROUP: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr,
    CHUNKS: gl.constexpr, CAUSAL: gl.constexpr, PINGPONG: gl.constexpr, SHIFT: gl.constexpr,
    LAZY: gl.constexpr, REGISTERS: gl.constexpr, LATE: gl.constexpr, CHAINED: gl.constexpr,
):  # fmt: skip
    """CONSUMERS * 64 rows of the query heads of one KV head at a time.

    A program begins with the piece of work of its own number and goes on with the next that nobody
    has taken: `counter_ptr`, zero at the start, counts those beyond the grid.

    A window is left and right, or left alone with CAUSAL. Packed sequences are cu_q,
    cu_k and their number; seqlen_q and seqlen_k are then all their rows, and `tiles` is as many as
    the producer's `sequence_of` may give out.
    """
    PACKED: gl.constexpr = cu_q_ptr is not None
    if q_scale_ptr is not None:
        scale *= gl.load(q_scale_ptr)
    if k_scale_ptr is not None:
        scale *= gl.load(k_scale_ptr)
    if v_scale_ptr is not None:
        value_scale *= gl.load(v_scale_ptr)
    q_smem = gl.allocate_shared_memory(
        q_desc.dtype, [CONSUMERS * CHUNKS] + q_desc.block_type.shape, q_desc.layout
    )
    k_ring = gl.allocate_shared_memory(
        k_desc.dtype, [STAGES * CHUNKS] + k_desc.block_type.shape, k_desc.layout
    )
    v_ring = gl.allocate_shared_memory(
        v_desc.dtype, [STAGES] + v_desc.block_type.shape, v_desc.layout
    )
    out_smem = gl.allocate_shared_memory(
        out_desc.dtype, [CONSUMERS] + out_desc.block_type.shape, out_desc.layout
    )
    work = gl.allocate_shared_memory(gl.int32, [NOTES, 1], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    q_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    q_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    k_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    k_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    v_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    mbarrier.init(q_full, count=1)
    mbarrier.init(q_empty, count=CONSUMERS)
    for slot in gl.static_range(STAGES):
        mbarrier.init(k_full.index(slot), count=1)
        mbarrier.init(k_empty.index(slot), count=CONSUMERS)
        mbarrier.init(v_full.index(slot), count=1)
        mbarrier.init(v_empty.index(slot), count=CONSUMERS)
    fence()
    barrier()
    if CONSUMERS == 2:
        gl.warp_specialize(
            [
                (consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale, left, right,
                    GROUP, STAGES, CONSUMERS, CHUNKS, CAUSAL, PACKED, PINGPONG, SHIFT, LAZY, LATE,
                    CHAINED, FIRST,
                )),
                (consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale, left, right,
                    GROUP, STAGES, CONSUMERS, CHUNKS, CAUSAL, PACKED, PINGPONG, SHIFT, LAZY, LATE,
                    CHAINED, SECOND,
                )),
                (produce, (
                    q_desc, k_desc, v_desc, q_smem, k_ring, v_ring, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty, counter_ptr,
                    total, tiles, kv_heads, section, seqlen_q, seqlen_k, left, right,
                    cu_q_ptr, cu_k_ptr, sequences,
                    GROUP, BLOCK_N, STAGES, CONSUMERS, CHUNKS, CAUSAL,
                )),
            ],
            [4, 1],
            [REGISTERS, 504 - 2 * REGISTERS],  # of the 168 a thread has at entry
        )  # fmt: skip
    else:
        gl.warp_specialize(
            [
                (consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale, left, right,
                    GROUP, STAGES, CONSUMERS, CHUNKS, CAUSAL, PACKED, PINGPONG, SHIFT, LAZY, LATE,
                    CHAINED, FIRST,
                )),
                (consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale, left, right,
                    GROUP, STAGES, CONSUMERS, CHUNKS, CAUSAL, PACKED, PINGPONG, SHIFT, LAZY, LATE,
                    CHAINED, SECOND,
                )),
                (consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale, left, right,
                    GROUP, STAGES, CONSUMERS, CHUNKS, CAUSAL, PACKED, PINGPONG, SHIFT, LAZY, LATE,
                    CHAINED, THIRD,
                )),
                (produce, (
                    q_desc, k_desc, v_desc, q_smem, k_ring, v_ring, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty, counter_ptr,
                    total, tiles, kv_heads, section, seqlen_q, seqlen_k, left, right,
                    cu_q_ptr, cu_k_ptr, sequences,
                    GROUP, BLOCK_N, STAGES, CONSUMERS, CHUNKS, CAUSAL,
                )),
            ],
            [4, 4, 1],
            [REGISTERS, REGISTERS, 32],
        )  # fmt: skip
