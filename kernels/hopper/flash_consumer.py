"""One consumer warpgroup of the Hopper prefill kernel: 64 query rows, tile after tile of keys.

It issues the scores of the next key tile, then the weighted sum of this one, and does its softmax
while the tensor cores work on both.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier, tma

from kernels.hopper.flash_producer import (
    BATCH,
    BEGIN_Q,
    FAR,
    KV_HEAD,
    LENGTH_K,
    LENGTH_Q,
    ROWS,
    TILE,
    key_tiles,
    unit,
)
from kernels.hopper.names import fence, mma, mma_wait, store_tile
from kernels.hopper.notes import told
from kernels.hopper.softmax import operand, partial_sums, rescale, settled, softmax


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
def _scores(q_smem, k_ring, CONSUMER: gl.constexpr, slot, acc, CHUNKS: gl.constexpr):
    """Issue queries times keys; head_dim lies in CHUNKS tiles of as many columns each."""
    BLOCK_N: gl.constexpr = k_ring.shape[-2]
    D: gl.constexpr = k_ring.shape[-1]
    for chunk in gl.static_range(CHUNKS):
        q = q_smem.index(CONSUMER * CHUNKS + chunk).reshape([ROWS, D])
        k = k_ring.index(slot * CHUNKS + chunk).reshape([BLOCK_N, D])
        acc = mma(q, k.permute([1, 0]), acc, use_acc=chunk > 0, is_async=True)
    return acc


@gluon.jit
def _step(
    q_smem, k_ring, v_ring, k_full, k_empty, v_full, v_empty, count,
    weights, acc, row_max, row_sum, scale, masked, first_key, seqlen_k, seen, unseen,
    STAGES: gl.constexpr, CHUNKS: gl.constexpr, GUARD: gl.constexpr, PINGPONG: gl.constexpr,
    CONSUMER: gl.constexpr, CONSUMERS: gl.constexpr, SHIFT: gl.constexpr, LAZY: gl.constexpr,
    LATE: gl.constexpr, CHAINED: gl.constexpr,
):  # fmt: skip
    """Scores of key tile `count`, values of the tile before it, one softmax."""
    dtype: gl.constexpr = k_ring.dtype
    fp8: gl.constexpr = dtype.primitive_bitwidth == 8
    BLOCK_N: gl.constexpr = k_ring.shape[-2]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout(
        [3, 0], [4, 1], [16, BLOCK_N, 256 // dtype.primitive_bitwidth]
    )
    k_slot = count % STAGES
    v_slot = (count - 1) % STAGES
    mbarrier.wait(k_full.index(k_slot), count // STAGES & 1)
    if PINGPONG:
        _turn_wait(CONSUMER)
    zeros = gl.zeros([ROWS, BLOCK_N], gl.float32, S_LAYOUT)
    pending_scores = _scores(q_smem, k_ring, CONSUMER, k_slot, zeros, CHUNKS)
    mbarrier.wait(v_full.index(v_slot), (count - 1) // STAGES & 1)
    v = _values(v_ring.index(v_slot), fp8)
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, acc.type.layout, 32 // dtype.primitive_bitwidth)
    if LATE:
        weights = operand(weights, dtype, A_LAYOUT)
    pending_acc = mma(weights, v, acc, is_async=True)
    if PINGPONG:
        _turn_pass(CONSUMER, CONSUMERS)
    scores = mma_wait(1, deps=[pending_scores])
    mbarrier.arrive(k_empty.index(k_slot), count=1)
    weights, row_max, decay = softmax(
        scores, row_max, scale, masked, first_key, seqlen_k, seen, unseen,
        GUARD, SHIFT, LAZY, CHAINED,
    )  # fmt: skip
    S_SUM: gl.constexpr = gl.SliceLayout(1, row_sum.type.layout)
    row_sum = row_sum * gl.convert_layout(decay, S_SUM)[:, None] + partial_sums(weights)
    # ptxas would hoist the wait for the tensor cores above the exponentials. It does not move it
    # out of its basic block, so one has to start between them; row_sum, which passes through the
    # wait, keeps LLVM from moving the exponentials.
    if LATE:
        row_sum = settled(row_sum)
    else:  # a barrier long since complete does it too, with one more meeting of the four warps
        weights = operand(weights, dtype, A_LAYOUT)
        mbarrier.wait(v_full.index(v_slot), (count - 1) // STAGES & 1)
    acc, row_sum = mma_wait(0, deps=[pending_acc, row_sum])
    mbarrier.arrive(v_empty.index(v_slot), count=1)
    return weights, rescale(acc, decay), row_max, row_sum


@gluon.jit
def _values(tile, TRANSPOSED: gl.constexpr):
    """A slot of the value ring as [keys, dim]."""
    if TRANSPOSED:
        return tile.reshape([tile.shape[-2], tile.shape[-1]]).permute([1, 0])
    else:  # noqa: RET505
        return tile.reshape([tile.shape[-2], tile.shape[-1]])


@gluon.jit
def _store(desc, buffer, values, batch, head, row, column, begin, length, PACKED: gl.constexpr):
    """Send a consumer's rows, or half their columns, off; none past the end of their sequence."""
    tma.store_wait(0)
    buffer.reshape(values.shape).store(values)
    fence()
    if PACKED:  # as in the producer's `_load`
        where = [FAR, begin + length, head, FAR - length + row, column]
        store_tile(desc, where, buffer)
    else:
        store_tile(desc, [batch, head, row, column], buffer)


@gluon.jit
def _write(out_desc, buffer, acc, batch, head, row, begin, length, PACKED: gl.constexpr):
    """One consumer's output, in two halves where the buffer is half as wide."""
    WIDTH: gl.constexpr = out_desc.block_shape[-1]
    values = acc.to(out_desc.dtype)
    if values.shape[1] == WIDTH:
        _store(out_desc, buffer, values, batch, head, row, 0, begin, length, PACKED)
    else:
        left, right = values.reshape([ROWS, 2, WIDTH]).permute([0, 2, 1]).split()
        _store(out_desc, buffer, left, batch, head, row, 0, begin, length, PACKED)
        _store(out_desc, buffer, right, batch, head, row, WIDTH, begin, length, PACKED)


@gluon.jit
def consume(
    out_desc, lse_ptr, q_smem, k_ring, v_ring, out_smem, work,
    q_full, q_empty, k_full, k_empty, v_full, v_empty,
    kv_heads, seqlen_q, seqlen_k, scale, value_scale, left, right,
    GROUP: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr, CHUNKS: gl.constexpr,
    CAUSAL: gl.constexpr, PACKED: gl.constexpr, PINGPONG: gl.constexpr, SHIFT: gl.constexpr,
    LAZY: gl.constexpr, LATE: gl.constexpr, CHAINED: gl.constexpr, CONSUMER: gl.constexpr,
):  # fmt: skip
    dtype: gl.constexpr = k_ring.dtype
    bits: gl.constexpr = dtype.primitive_bitwidth
    GUARD: gl.constexpr = CAUSAL or PACKED or left is not None
    BLOCK_N: gl.constexpr = k_ring.shape[-2]
    DV: gl.constexpr = v_ring.shape[-2 if bits == 8 else -1]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BLOCK_N, 256 // bits])
    O_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, DV, 256 // bits])
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, O_LAYOUT, 32 // bits)
    S_ROWS: gl.constexpr = gl.SliceLayout(1, S_LAYOUT)
    if PINGPONG and CONSUMER == CONSUMERS - 1:
        _turn_pass(CONSUMER, CONSUMERS)
    count = 0
    turn = 0
    begin_q, length_q, length_k = 0, seqlen_q, seqlen_k
    mbarrier.wait(q_full, 0)
    tile = told(work, 0, TILE)
    while tile >= 0:
        if PACKED:
            length_q = told(work, turn, LENGTH_Q)
            length_k = told(work, turn, LENGTH_K)
        low, steps = key_tiles(
            tile, length_q, length_k, left, right, BLOCK_N, CONSUMERS, GROUP, CAUSAL
        )
        first_row = unit(tile, 0, CONSUMER, CONSUMERS, GROUP)[1]
        seen, unseen = None, None  # row i sees the keys from unseen + i up to seen + i
        end = length_k
        if CAUSAL:
            seen = first_row + length_k - length_q + 1
            end = None  # rows past the last one may see keys past the end: zeros
        elif left is not None:
            seen = first_row + length_k - length_q + right + 1
        if left is not None:
            unseen = first_row + length_k - length_q - left

        slot = count % STAGES
        mbarrier.wait(k_full.index(slot), count // STAGES & 1)
        zeros = gl.zeros([ROWS, BLOCK_N], gl.float32, S_LAYOUT)
        scores = mma_wait(0, deps=[_scores(q_smem, k_ring, CONSUMER, slot, zeros, CHUNKS)])
        mbarrier.arrive(k_empty.index(slot), count=1)
        row_max = gl.full([ROWS], -float("inf"), gl.float32, S_ROWS)
        first_key = (low + steps - 1) * BLOCK_N
        probs, row_max, _ = softmax(
            scores, row_max, scale, True, first_key, end, seen, unseen,
            GUARD, SHIFT, LAZY, CHAINED,
        )  # fmt: skip
        row_sum = partial_sums(probs)
        weights = probs
        if not LATE:
            weights = operand(probs, dtype, A_LAYOUT)
        acc = gl.zeros([ROWS, DV], gl.float32, O_LAYOUT)
        for step in range(1, steps):
            count += 1
            key = first_key - step * BLOCK_N
            masked = False
            if seen is not None:
                masked = key + BLOCK_N > seen
            if unseen is not None:
                masked = masked | (key < unseen + ROWS - 1)
            weights, acc, row_max, row_sum = _step(
                q_smem, k_ring, v_ring, k_full, k_empty, v_full, v_empty, count,
                weights, acc, row_max, row_sum, scale, masked, key, end, seen, unseen,
                STAGES, CHUNKS, GUARD, PINGPONG, CONSUMER, CONSUMERS, SHIFT, LAZY, LATE, CHAINED,
            )  # fmt: skip
        mbarrier.arrive(q_empty, count=1)

        slot = count % STAGES
        mbarrier.wait(v_full.index(slot), count // STAGES & 1)
        v = _values(v_ring.index(slot), bits == 8)
        if LATE:
            weights = operand(weights, dtype, A_LAYOUT)
        pending = mma(weights, v, acc, is_async=True)
        total_sum = gl.convert_layout(gl.sum(row_sum, axis=1), S_ROWS)
        saw_keys = total_sum > 0.0
        inverse = value_scale / gl.where(saw_keys, total_sum, 1.0)
        acc = mma_wait(0, deps=[pending])
        mbarrier.arrive(v_empty.index(slot), count=1)
        count += 1
        batch = 0
        if PACKED:
            begin_q = told(work, turn, BEGIN_Q)
            length_q = told(work, turn, LENGTH_Q)  # again: registers were short in the loop
        else:
            batch = told(work, turn, BATCH)
        head = unit(tile, told(work, turn, KV_HEAD), CONSUMER, CONSUMERS, GROUP)[0]
        acc = acc * gl.convert_layout(inverse, gl.SliceLayout(1, O_LAYOUT))[:, None]

        buffer = out_smem.index(CONSUMER)
        _write(out_desc, buffer, acc, batch, head, first_row, begin_q, length_q, PACKED)
        if lse_ptr is not None:
            lse = row_max + gl.log2(gl.where(saw_keys, total_sum, 1.0)) - SHIFT
            lse = gl.where(saw_keys, lse * 0.6931471805599453, -float("inf"))
            row = first_row + gl.arange(0, ROWS, S_ROWS)
            base = (batch * kv_heads * GROUP + head).to(gl.int64) * seqlen_q + begin_q
            gl.store(lse_ptr + base + row, lse, mask=row < length_q)
        turn += 1
        mbarrier.wait(q_full, turn & 1)
        tile = told(work, turn, TILE)
    tma.store_wait(0)
