"""The producer warp of the Hopper kernel: which work comes when, and its loads.

TMA descriptors (`kernels.tma_maps`) keep every load inside its head and its sequence.
"""

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels import tma_maps
from kernels.hopper.names import load_tile
from kernels.hopper.notes import tell

ROWS = gl.constexpr(64)  # query rows of one consumer
FAR = gl.constexpr(tma_maps.FAR)
PADDING = gl.constexpr(128)  # packed fp8 values start at a multiple of this many keys

# Notes from the producer to the consumers about the next piece of work, each for two turns.
TILE, BATCH, KV_HEAD = gl.constexpr(0), gl.constexpr(1), gl.constexpr(2)
BEGIN_Q, LENGTH_Q, LENGTH_K = gl.constexpr(1), gl.constexpr(3), gl.constexpr(4)  # packed: batch 0
NOTES = gl.constexpr(10)


@gluon.jit
def place(index, total, tiles, kv_heads, section):
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
def unit(tile, kv_head, CONSUMER: gl.constexpr, CONSUMERS: gl.constexpr, GROUP: gl.constexpr):
    """Head and first row of one consumer: its neighbours take the same rows of the next heads."""
    index = tile * CONSUMERS + CONSUMER
    return kv_head * GROUP + index % GROUP, index // GROUP * ROWS


@gluon.jit
def _start(sequence, begin, CONSUMERS: gl.constexpr, GROUP: gl.constexpr):
    """First tile that may be this packed sequence's: the ones before it never need more."""
    blocks = begin // ROWS + sequence
    if GROUP % CONSUMERS == 0:
        return blocks * (GROUP // CONSUMERS)
    else:  # noqa: RET505
        return blocks * GROUP // CONSUMERS + sequence


@gluon.jit
def sequence_of(tile, cu_q_ptr, cu_k_ptr, sequences, CONSUMERS: gl.constexpr, GROUP: gl.constexpr):
    """The packed sequence a tile belongs to, its tile there, and where its rows and keys are."""
    low = tile * 0
    high = sequences
    while high - low > 1:
        middle = (low + high) // 2
        if _start(middle, gl.load(cu_q_ptr + middle), CONSUMERS, GROUP) <= tile:
            low = middle
        else:
            high = middle
    begin_q = gl.load(cu_q_ptr + low)
    begin_k = gl.load(cu_k_ptr + low)
    length_q = gl.load(cu_q_ptr + low + 1) - begin_q
    length_k = gl.load(cu_k_ptr + low + 1) - begin_k
    tile -= _start(low, begin_q, CONSUMERS, GROUP)
    return tile, low, begin_q, length_q, begin_k, length_k


@gluon.jit
def key_tiles(
    tile, seqlen_q, seqlen_k, left, right,
    BLOCK_N: gl.constexpr, CONSUMERS: gl.constexpr, GROUP: gl.constexpr, CAUSAL: gl.constexpr,
):  # fmt: skip
    """First key tile that some row of this query tile sees, and how many, at least one."""
    keys = seqlen_k
    low = 0
    _, last_row = unit(tile, 0, CONSUMERS - 1, CONSUMERS, GROUP)
    if CAUSAL:
        keys = gl.minimum(seqlen_k, last_row + ROWS + seqlen_k - seqlen_q)
    elif left is not None:
        keys = gl.minimum(seqlen_k, last_row + ROWS + seqlen_k - seqlen_q + right)
    if left is not None:
        _, row = unit(tile, 0, 0, CONSUMERS, GROUP)
        low = gl.maximum(row + seqlen_k - seqlen_q - left, 0) // BLOCK_N
    return low, gl.maximum(gl.cdiv(keys, BLOCK_N) - low, 1)


@gluon.jit
def _load(desc, batch, head, row, column, begin, length, full, target, PACKED: gl.constexpr):
    """One tile of one head; rows past the end of its sequence arrive as zeros."""
    if PACKED:
        where = [FAR, begin + length, head, FAR - length + row, column]
        load_tile(desc, where, full, target)
    else:
        load_tile(desc, [batch, head, row, column], full, target)


@gluon.jit
def _load_k(
    desc, ring, full, empty, count, batch, head, row, begin, length,
    STAGES: gl.constexpr, CHUNKS: gl.constexpr, PACKED: gl.constexpr,
):  # fmt: skip
    """Fill slot `count` of the ring of keys once every consumer has let go of what it held."""
    slot = count % STAGES
    mbarrier.wait(empty.index(slot), count // STAGES & 1 ^ 1)
    mbarrier.expect(full.index(slot), CHUNKS * desc.block_type.nbytes)
    for chunk in gl.static_range(CHUNKS):
        _load(
            desc, batch, head, row, chunk * desc.block_shape[-1], begin, length,
            full.index(slot), ring.index(slot * CHUNKS + chunk), PACKED,
        )  # fmt: skip


@gluon.jit
def _load_v(
    desc, ring, full, empty, count, batch, head, row, begin, length,
    STAGES: gl.constexpr, TRANSPOSED: gl.constexpr, PACKED: gl.constexpr,
):  # fmt: skip
    """The same for values; transposed ones are a tensor of their own, padded with zeros."""
    slot = count % STAGES
    mbarrier.wait(empty.index(slot), count // STAGES & 1 ^ 1)
    mbarrier.expect(full.index(slot), desc.block_type.nbytes)
    if TRANSPOSED:
        load_tile(desc, [batch, head, 0, begin + row], full.index(slot), ring.index(slot))
    else:
        _load(
            desc,
            batch,
            head,
            row,
            0,
            begin,
            length,
            full.index(slot),
            ring.index(slot),
            PACKED,
        )


@gluon.jit
def _await_transposed():
    """Wait for the kernel before this one, which turns the values; done at once from then on."""
    gl.inline_asm_elementwise(
        "griddepcontrol.wait; mov.b32 $0, 0;", "=r", [], dtype=gl.int32, is_pure=False, pack=1
    )


@gluon.jit
def produce(
    q_desc, k_desc, v_desc, q_smem, k_ring, v_ring, work,
    q_full, q_empty, k_full, k_empty, v_full, v_empty, counter_ptr,
    total, tiles, kv_heads, section, seqlen_q, seqlen_k, left, right,
    cu_q_ptr, cu_k_ptr, sequences,
    GROUP: gl.constexpr, BLOCK_N: gl.constexpr, STAGES: gl.constexpr, CONSUMERS: gl.constexpr,
    CHUNKS: gl.constexpr, CAUSAL: gl.constexpr,
):  # fmt: skip
    FP8: gl.constexpr = q_desc.dtype.primitive_bitwidth == 8
    PACKED: gl.constexpr = cu_q_ptr is not None
    count = 0
    turn = 0
    begin_q, begin_k, begin_v, length_q, length_k = 0, 0, 0, seqlen_q, seqlen_k
    index = gl.program_id(0)
    while index < total:
        tile, batch, kv_head = place(index, total, tiles, kv_heads, section)
        real = True
        if PACKED:
            batch = 0
            tile, sequence, begin_q, length_q, begin_k, length_k = sequence_of(
                tile, cu_q_ptr, cu_k_ptr, sequences, CONSUMERS, GROUP
            )
            begin_v = begin_k
            if FP8:
                begin_v = (begin_k // PADDING + sequence) * PADDING
            _, first_row = unit(tile, 0, 0, CONSUMERS, GROUP)
            real = first_row < length_q
        if real:
            low, steps = key_tiles(
                tile, length_q, length_k, left, right, BLOCK_N, CONSUMERS, GROUP, CAUSAL
            )
            last = (low + steps - 1) * BLOCK_N
            _load_k(
                k_desc, k_ring, k_full, k_empty, count, batch, kv_head, last, begin_k, length_k,
                STAGES, CHUNKS, PACKED,
            )  # fmt: skip
            mbarrier.wait(q_empty, turn & 1 ^ 1)
            tell(work, turn, TILE, tile)
            tell(work, turn, KV_HEAD, kv_head)
            if PACKED:
                tell(work, turn, BEGIN_Q, begin_q)
                tell(work, turn, LENGTH_Q, length_q)
                tell(work, turn, LENGTH_K, length_k)
            else:
                tell(work, turn, BATCH, batch)
            mbarrier.expect(q_full, CONSUMERS * CHUNKS * q_desc.block_type.nbytes)
            for consumer in gl.static_range(CONSUMERS):
                head, row = unit(tile, kv_head, consumer, CONSUMERS, GROUP)
                for chunk in gl.static_range(CHUNKS):
                    _load(
                        q_desc, batch, head, row, chunk * q_desc.block_shape[-1], begin_q, length_q,
                        q_full, q_smem.index(consumer * CHUNKS + chunk), PACKED,
                    )  # fmt: skip
            if FP8:
                _await_transposed()
            for step in range(1, steps):
                row = last - step * BLOCK_N
                next_count = count + 1
                _load_k(
                    k_desc, k_ring, k_full, k_empty, next_count, batch, kv_head, row, begin_k,
                    length_k, STAGES, CHUNKS, PACKED,
                )  # fmt: skip
                _load_v(
                    v_desc, v_ring, v_full, v_empty, count, batch, kv_head, row + BLOCK_N, begin_v,
                    length_k, STAGES, FP8, PACKED,
                )  # fmt: skip
                count = next_count
            # Asked for while the last values wait for a slot, no earlier: long pieces would then
            # go to programs that are still busy.
            index = gl.num_programs(0) + gl.atomic_add(counter_ptr, 1)
            _load_v(
                v_desc, v_ring, v_full, v_empty, count, batch, kv_head, low * BLOCK_N, begin_v,
                length_k, STAGES, FP8, PACKED,
            )  # fmt: skip
            count += 1
            turn += 1
        else:
            if FP8:  # never end before the kernel that was launched first
                _await_transposed()
            index = gl.num_programs(0) + gl.atomic_add(counter_ptr, 1)
    mbarrier.wait(q_empty, turn & 1 ^ 1)
    tell(work, turn, TILE, -1)
    mbarrier.arrive(q_full, count=1)
