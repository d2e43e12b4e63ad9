"""Flash attention for Hopper in Gluon: one producer warp feeds two or three consumer warpgroups.

Each consumer owns 64 query rows. It issues the scores of the next key tile, then the weighted sum
of this one, and does its softmax while the tensor cores work on both. K and V pass through rings of
STAGES tiles, filled by TMA. Rank-4 descriptors [batch, head, row, dim] keep every load and store
inside its head. Works with the Gluon of Triton 3.6 to 3.9.
"""

# ruff: noqa: RUF005 (Gluon has no list unpacking)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia import hopper
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma

from kernels.hopper_softmax import operand, partial_sums, softmax

ROWS = gl.constexpr(64)  # query rows of one consumer
FIRST, SECOND, THIRD = gl.constexpr(0), gl.constexpr(1), gl.constexpr(2)

barrier = getattr(gl, "barrier", None) or gl.thread_barrier  # 3.7 renamed it
load_tile = getattr(tma, "async_load", None) or tma.async_copy_global_to_shared  # 3.9
store_tile = getattr(tma, "async_store", None) or tma.async_copy_shared_to_global
fence = hopper.fence_async_shared
mma = hopper.warpgroup_mma
mma_wait = hopper.warpgroup_mma_wait


@gluon.jit
def _place(index, total, tiles, kv_heads, section):
    """Query tile, batch and KV head of the index-th piece of work.

    `section` KV heads at a time, few enough that their keys and values stay in L2; among them the
    long rows first, so that the last pieces are short.
    """
    first = index // (tiles * section) * section
    inside = index - first * tiles
    heads = gl.minimum(total // tiles - first, section)
    kv_head = first + inside % heads
    return tiles - 1 - inside // heads, kv_head // kv_heads, kv_head % kv_heads


@gluon.jit
def _unit(tile, kv_head, CONSUMER: gl.constexpr, CONSUMERS: gl.constexpr, GROUP: gl.constexpr):
    """Head and first row of one consumer: its neighbours take the same rows of the next heads."""
    unit = tile * CONSUMERS + CONSUMER
    return kv_head * GROUP + unit % GROUP, unit // GROUP * ROWS


@gluon.jit
def _steps(
    tile, seqlen_q, seqlen_k, BLOCK_N: gl.constexpr, CONSUMERS: gl.constexpr, GROUP: gl.constexpr,
    CAUSAL: gl.constexpr,
):  # fmt: skip
    """Key tiles that some row of this query tile sees, at least one."""
    keys = seqlen_k
    if CAUSAL:
        _, row = _unit(tile, 0, CONSUMERS - 1, CONSUMERS, GROUP)
        keys = gl.minimum(seqlen_k, row + ROWS + seqlen_k - seqlen_q)
    return gl.maximum(gl.cdiv(keys, BLOCK_N), 1)


@gluon.jit
def _tell(work, turn, tile, batch, kv_head):
    """Leave for the consumers what their next tile is; two turns' notes fit."""
    LAYOUT: gl.constexpr = gl.BlockedLayout([1], [32], [1], [0])
    note = (turn & 1) * 3
    work.index(note).store(gl.full([1], tile, gl.int32, LAYOUT))
    work.index(note + 1).store(gl.full([1], batch, gl.int32, LAYOUT))
    work.index(note + 2).store(gl.full([1], kv_head, gl.int32, LAYOUT))


@gluon.jit
def _told(work, turn, FIELD: gl.constexpr):
    note = work.index((turn & 1) * 3 + FIELD)
    return gl.max(note.load(gl.BlockedLayout([1], [32], [4], [0])), 0)


@gluon.jit
def _load_kv(desc, ring, full, empty, count, batch, head, row, STAGES: gl.constexpr,
             TRANSPOSED: gl.constexpr):  # fmt: skip
    """Fill slot `count` of a ring once every consumer has let go of what it held."""
    slot = count % STAGES
    mbarrier.wait(empty.index(slot), count // STAGES & 1 ^ 1)
    mbarrier.expect(full.index(slot), desc.block_type.nbytes)
    if TRANSPOSED:
        load_tile(desc, [batch, head, 0, row], full.index(slot), ring.index(slot))
    else:
        load_tile(desc, [batch, head, row, 0], full.index(slot), ring.index(slot))


@gluon.jit
def _produce(
    q_desc, k_desc, v_desc, q_smem, k_ring, v_ring, work,
    q_full, q_empty, k_full, k_empty, v_full, v_empty, counter_ptr,
    total, tiles, kv_heads, section, seqlen_q, seqlen_k,
    GROUP: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr,
    CAUSAL: gl.constexpr,
):  # fmt: skip
    fp8: gl.constexpr = q_desc.dtype.primitive_bitwidth == 8
    count = 0
    turn = 0
    index = gl.program_id(0)
    while index < total:
        tile, batch, kv_head = _place(index, total, tiles, kv_heads, section)
        steps = _steps(tile, seqlen_q, seqlen_k, BLOCK_N, CONSUMERS, GROUP, CAUSAL)
        last = (steps - 1) * BLOCK_N
        _load_kv(k_desc, k_ring, k_full, k_empty, count, batch, kv_head, last, STAGES, False)
        mbarrier.wait(q_empty, turn & 1 ^ 1)
        _tell(work, turn, tile, batch, kv_head)
        mbarrier.expect(q_full, CONSUMERS * q_desc.block_type.nbytes)
        for consumer in gl.static_range(CONSUMERS):
            head, row = _unit(tile, kv_head, consumer, CONSUMERS, GROUP)
            load_tile(q_desc, [batch, head, row, 0], q_full, q_smem.index(consumer))
        for step in range(1, steps):
            row = (steps - 1 - step) * BLOCK_N
            next_count = count + 1
            _load_kv(
                k_desc, k_ring, k_full, k_empty, next_count, batch, kv_head, row, STAGES, False
            )
            _load_kv(
                v_desc, v_ring, v_full, v_empty, count, batch, kv_head, row + BLOCK_N, STAGES, fp8
            )
            count = next_count
        _load_kv(v_desc, v_ring, v_full, v_empty, count, batch, kv_head, 0, STAGES, fp8)
        count += 1
        turn += 1
        index = gl.num_programs(0) + gl.atomic_add(counter_ptr, 1)
    mbarrier.wait(q_empty, turn & 1 ^ 1)
    _tell(work, turn, -1, 0, 0)
    mbarrier.arrive(q_full, count=1)


@gluon.jit
def _turn_wait(CONSUMER: gl.constexpr):
    """Wait for this consumer's turn at the tensor cores (a named barrier of two warpgroups)."""
    if CONSUMER == 0:
        _asm("bar.sync 8, 256; mov.b32 $0, 0;")
    elif CONSUMER == 1:
        _asm("bar.sync 9, 256; mov.b32 $0, 0;")
    else:
        _asm("bar.sync 10, 256; mov.b32 $0, 0;")


@gluon.jit
def _turn_pass(CONSUMER: gl.constexpr, CONSUMERS: gl.constexpr):
    """Give the turn to the next consumer."""
    if (CONSUMER + 1) % CONSUMERS == 0:
        _asm("bar.arrive 8, 256; mov.b32 $0, 0;")
    elif CONSUMER == 0:
        _asm("bar.arrive 9, 256; mov.b32 $0, 0;")
    else:
        _asm("bar.arrive 10, 256; mov.b32 $0, 0;")


@gluon.jit
def _asm(CODE: gl.constexpr):
    gl.inline_asm_elementwise(CODE, "=r", [], dtype=gl.int32, is_pure=False, pack=1)


@gluon.jit
def _step(
    q, k_ring, v_ring, k_full, k_empty, v_full, v_empty, count,
    weights, acc, row_max, row_sum, scale, masked, first_row, first_key, offset, seqlen_k,
    STAGES: gl.constexpr, CAUSAL: gl.constexpr, PINGPONG: gl.constexpr,
    CONSUMER: gl.constexpr, CONSUMERS: gl.constexpr, SHIFT: gl.constexpr, LAZY: gl.constexpr,
    CONVERT: gl.constexpr,
):  # fmt: skip
    """Scores of key tile `count`, values of the tile before it, one softmax."""
    dtype: gl.constexpr = k_ring.dtype
    fp8: gl.constexpr = dtype.primitive_bitwidth == 8
    BLOCK_N: gl.constexpr = k_ring.shape[3]
    D: gl.constexpr = k_ring.shape[4]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout(
        [3, 0], [4, 1], [16, BLOCK_N, 256 // dtype.primitive_bitwidth]
    )
    k_slot = count % STAGES
    v_slot = (count - 1) % STAGES
    mbarrier.wait(k_full.index(k_slot), count // STAGES & 1)
    if PINGPONG:
        _turn_wait(CONSUMER)
    k = k_ring.index(k_slot).reshape([BLOCK_N, D])
    zeros = gl.zeros([ROWS, BLOCK_N], gl.float32, S_LAYOUT)
    pending_scores = mma(q, k.permute([1, 0]), zeros, use_acc=False, is_async=True)
    mbarrier.wait(v_full.index(v_slot), (count - 1) // STAGES & 1)
    v = _values(v_ring.index(v_slot), fp8)
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, acc.type.layout, 32 // dtype.primitive_bitwidth)
    if CONVERT == "late":
        weights = operand(weights, dtype, A_LAYOUT, False)
    pending_acc = mma(weights, v, acc, is_async=True)
    if PINGPONG:
        _turn_pass(CONSUMER, CONSUMERS)
    scores = mma_wait(1, deps=[pending_scores])
    mbarrier.arrive(k_empty.index(k_slot), count=1)
    old_max = row_max
    new_weights, row_max, decay = softmax(
        scores, old_max, scale, masked, first_row, first_key, offset, seqlen_k, CAUSAL, SHIFT, LAZY
    )
    S_SUM: gl.constexpr = gl.SliceLayout(1, row_sum.type.layout)
    row_sum = row_sum * gl.convert_layout(decay, S_SUM)[:, None] + partial_sums(new_weights)
    if CONVERT == "late":
        weights = new_weights
    else:
        weights = operand(new_weights, dtype, A_LAYOUT, CONVERT == "pinned")
    # ptxas would hoist the wait for the tensor cores above the exponentials. It does not move it
    # out of its basic block: this barrier, long since complete, starts one. LLVM keeps the
    # exponentials before it because row_sum passes through the wait.
    mbarrier.wait(v_full.index(v_slot), (count - 1) // STAGES & 1)
    acc, row_sum = mma_wait(0, deps=[pending_acc, row_sum])
    mbarrier.arrive(v_empty.index(v_slot), count=1)
    if LAZY > 0:
        if gl.max((row_max > old_max).to(gl.int32), 0) > 0:
            acc = acc * gl.convert_layout(decay, gl.SliceLayout(1, acc.type.layout))[:, None]
    else:
        acc = acc * gl.convert_layout(decay, gl.SliceLayout(1, acc.type.layout))[:, None]
    return weights, acc, row_max, row_sum


@gluon.jit
def _values(tile, TRANSPOSED: gl.constexpr):
    """A slot of the value ring as [keys, dim]."""
    if TRANSPOSED:
        return tile.reshape([tile.shape[2], tile.shape[3]]).permute([1, 0])
    else:  # noqa: RET505
        return tile.reshape([tile.shape[2], tile.shape[3]])


@gluon.jit
def _write(out_desc, buffer, acc, batch, head, row):
    """Send one consumer's output off, in two halves where the buffer is half as wide."""
    WIDTH: gl.constexpr = out_desc.block_shape[3]
    target = buffer.reshape([ROWS, WIDTH])
    values = acc.to(out_desc.dtype)
    if values.shape[1] == WIDTH:
        tma.store_wait(0)
        target.store(values)
        fence()
        store_tile(out_desc, [batch, head, row, 0], buffer)
    else:
        left, right = values.reshape([ROWS, 2, WIDTH]).permute([0, 2, 1]).split()
        tma.store_wait(0)
        target.store(left)
        fence()
        store_tile(out_desc, [batch, head, row, 0], buffer)
        tma.store_wait(0)
        target.store(right)
        fence()
        store_tile(out_desc, [batch, head, row, WIDTH], buffer)


@gluon.jit
def _consume(
    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
    q_full, q_empty, k_full, k_empty, v_full, v_empty,
    kv_heads, seqlen_q, seqlen_k, scale, value_scale,
    GROUP: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr, CAUSAL: gl.constexpr,
    PINGPONG: gl.constexpr, CONSUMER: gl.constexpr, SHIFT: gl.constexpr,
    LAZY: gl.constexpr, CONVERT: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = k_ring.dtype
    bits: gl.constexpr = dtype.primitive_bitwidth
    BLOCK_N: gl.constexpr = k_ring.shape[3]
    D: gl.constexpr = k_ring.shape[4]
    DV: gl.constexpr = v_ring.shape[3 if bits == 8 else 4]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 256 // bits])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, DV, 256 // bits])
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 32 // bits)
    S_ROWS: gl.constexpr = gl.SliceLayout(1, S_LAYOUT)
    offset = seqlen_k - seqlen_q
    q = q_smem.index(CONSUMER).reshape([ROWS, D])
    if PINGPONG and CONSUMER == CONSUMERS - 1:
        _turn_pass(CONSUMER, CONSUMERS)
    count = 0
    turn = 0
    mbarrier.wait(q_full, 0)
    tile = _told(work, 0, 0)
    while tile >= 0:
        steps = _steps(tile, seqlen_q, seqlen_k, BLOCK_N, CONSUMERS, GROUP, CAUSAL)
        first_row = _unit(tile, 0, CONSUMER, CONSUMERS, GROUP)[1]

        slot = count % STAGES
        mbarrier.wait(k_full.index(slot), count // STAGES & 1)
        k = k_ring.index(slot).reshape([BLOCK_N, D])
        zeros = gl.zeros([ROWS, BLOCK_N], gl.float32, S_LAYOUT)
        scores = mma_wait(0, deps=[mma(q, k.permute([1, 0]), zeros, use_acc=False, is_async=True)])
        mbarrier.arrive(k_empty.index(slot), count=1)
        row_max = gl.full([ROWS], -float("inf"), gl.float32, S_ROWS)
        first_key = (steps - 1) * BLOCK_N
        probs, row_max, _ = softmax(
            scores, row_max, scale, True, first_row, first_key, offset, seqlen_k, CAUSAL, SHIFT,
            LAZY,
        )  # fmt: skip
        row_sum = partial_sums(probs)
        if CONVERT == "late":
            weights = probs
        else:
            weights = operand(probs, dtype, A_LAYOUT, CONVERT == "pinned")
        acc = gl.zeros([ROWS, DV], gl.float32, O_LAYOUT)
        whole = (first_row + offset + 1) // BLOCK_N  # key tiles that every row sees whole
        for step in range(1, steps):
            count += 1
            masked = False
            if CAUSAL:
                masked = steps - step > whole
            weights, acc, row_max, row_sum = _step(
                q, k_ring, v_ring, k_full, k_empty, v_full, v_empty, count,
                weights, acc, row_max, row_sum, scale, masked, first_row,
                first_key - step * BLOCK_N, offset, seqlen_k,
                STAGES, CAUSAL, PINGPONG, CONSUMER, CONSUMERS, SHIFT, LAZY, CONVERT,
            )  # fmt: skip
        mbarrier.arrive(q_empty, count=1)

        slot = count % STAGES
        mbarrier.wait(v_full.index(slot), count // STAGES & 1)
        v = _values(v_ring.index(slot), bits == 8)
        if CONVERT == "late":
            weights = operand(weights, dtype, A_LAYOUT, False)
        pending = mma(weights, v, acc, is_async=True)
        total_sum = gl.convert_layout(gl.sum(row_sum, axis=1), S_ROWS)
        saw_keys = total_sum > 0.0
        inverse = value_scale / gl.where(saw_keys, total_sum, 1.0)
        acc = mma_wait(0, deps=[pending])
        mbarrier.arrive(v_empty.index(slot), count=1)
        count += 1
        batch = _told(work, turn, 1)
        head = _unit(tile, _told(work, turn, 2), CONSUMER, CONSUMERS, GROUP)[0]
        acc = acc * gl.convert_layout(inverse, gl.SliceLayout(1, O_LAYOUT))[:, None]

        _write(out_desc, out_smem.index(CONSUMER), acc, batch, head, first_row)
        if lse_ptr is not None:
            lse = row_max + gl.log2(gl.where(saw_keys, total_sum, 1.0)) - SHIFT
            lse = gl.where(saw_keys, lse * 0.6931471805599453, -float("inf"))
            row = first_row + gl.arange(0, ROWS, S_ROWS)
            base = (batch * kv_heads * GROUP + head).to(gl.int64) * seqlen_q
            gl.store(lse_ptr + base + row, lse, mask=row < seqlen_q)
        turn += 1
        mbarrier.wait(q_full, turn & 1)
        tile = _told(work, turn, 0)
    tma.store_wait(0)


@gluon.jit(do_not_specialize=["total", "tiles", "kv_heads", "section", "seqlen_q", "seqlen_k"])
def hopper_flash_kernel(
    q_desc, k_desc, v_desc, out_desc, lse_ptr, q_scale_ptr, k_scale_ptr, v_scale_ptr, counter_ptr,
    total, tiles, kv_heads, section, seqlen_q, seqlen_k, scale, value_scale,
    GROUP: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr,
    CAUSAL: gl.constexpr, PINGPONG: gl.constexpr, SHIFT: gl.constexpr,
    LAZY: gl.constexpr, REGISTERS: gl.constexpr, CONVERT: gl.constexpr,
):  # fmt: skip
    """CONSUMERS * 64 rows of the query heads of one KV head at a time.

    A program begins with the piece of work of its own number and goes on with the next that nobody
    has taken: `counter_ptr`, zero at the start, counts those beyond the grid.
    """
    if q_scale_ptr is not None:
        scale *= gl.load(q_scale_ptr)
    if k_scale_ptr is not None:
        scale *= gl.load(k_scale_ptr)
    if v_scale_ptr is not None:
        value_scale *= gl.load(v_scale_ptr)
    q_smem = gl.allocate_shared_memory(
        q_desc.dtype, [CONSUMERS] + q_desc.block_type.shape, q_desc.layout
    )
    k_ring = gl.allocate_shared_memory(
        k_desc.dtype, [STAGES] + k_desc.block_type.shape, k_desc.layout
    )
    v_ring = gl.allocate_shared_memory(
        v_desc.dtype, [STAGES] + v_desc.block_type.shape, v_desc.layout
    )
    out_smem = gl.allocate_shared_memory(
        out_desc.dtype, [CONSUMERS] + out_desc.block_type.shape, out_desc.layout
    )
    work = gl.allocate_shared_memory(gl.int32, [6, 1], gl.SwizzledSharedLayout(1, 1, 1, [0]))
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
                (_consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale,
                    GROUP, STAGES, CONSUMERS, CAUSAL, PINGPONG, FIRST, SHIFT, LAZY, CONVERT,
                )),
                (_consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale,
                    GROUP, STAGES, CONSUMERS, CAUSAL, PINGPONG, SECOND, SHIFT, LAZY, CONVERT,
                )),
                (_produce, (
                    q_desc, k_desc, v_desc, q_smem, k_ring, v_ring, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty, counter_ptr,
                    total, tiles, kv_heads, section, seqlen_q, seqlen_k,
                    GROUP, BLOCK_N, STAGES, CONSUMERS, CAUSAL,
                )),
            ],
            [4, 1],
            [REGISTERS, 24],
        )  # fmt: skip
    else:
        gl.warp_specialize(
            [
                (_consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale,
                    GROUP, STAGES, CONSUMERS, CAUSAL, PINGPONG, FIRST, SHIFT, LAZY, CONVERT,
                )),
                (_consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale,
                    GROUP, STAGES, CONSUMERS, CAUSAL, PINGPONG, SECOND, SHIFT, LAZY, CONVERT,
                )),
                (_consume, (
                    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty,
                    kv_heads, seqlen_q, seqlen_k, scale, value_scale,
                    GROUP, STAGES, CONSUMERS, CAUSAL, PINGPONG, THIRD, SHIFT, LAZY, CONVERT,
                )),
                (_produce, (
                    q_desc, k_desc, v_desc, q_smem, k_ring, v_ring, work,
                    q_full, q_empty, k_full, k_empty, v_full, v_empty, counter_ptr,
                    total, tiles, kv_heads, section, seqlen_q, seqlen_k,
                    GROUP, BLOCK_N, STAGES, CONSUMERS, CAUSAL,
                )),
            ],
            [4, 4, 1],
            [REGISTERS, REGISTERS, 24],
        )  # fmt: skip
