"""The scores' part of MLA decode over fp8 latents: queries, products and softmax, keys as rows.

There are two ways. bf16 queries are taken apart into two fp8 numbers, which hold their 8 bits, and
the tensor cores multiply the latents as they lie. For fp16 queries, of 11 bits, the latents are
widened to fp16. The cache comes as 16-bit words of two entries.
"""

import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper_mla_kernel import fence, mma, mma_wait, result_place
from kernels.packed_bytes import neighbours, row_power

KEYS = gl.constexpr(64)
HALF = gl.constexpr(128)  # words of half the rank, 512 entries
ROPE = gl.constexpr(32)
CHAIN = gl.constexpr(128)  # fp8 entries of a key whose products are added up by the tensor cores

_memory = gl.shared_memory_descriptor
view = getattr(_memory, "reinterpret", None) or _memory._reinterpret  # 3.9 renamed it


@gluon.jit
def free_operands():
    """Until two products are under way: the registers of those before are free then."""
    gl.inline_asm_elementwise(
        "wgmma.wait_group.sync.aligned 2; mov.b32 $0, 0;", "=r", [],
        dtype=gl.int32, is_pure=False, pack=1,
    )  # fmt: skip


@gluon.jit
def _query_piece(source, start, inside, WIDTH: gl.constexpr, PART: gl.constexpr):
    """WIDTH entries of each row; of twice as many those that `neighbours` yields as PART."""
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 4], [2, 16], [4, 1], [1, 0])
    place = gl.arange(0, WIDTH, gl.SliceLayout(0, LAYOUT))
    if PART >= 0:
        place = place // 2 * 4 + place % 2 + 2 * PART
    mask = inside[:, None] & (place >= 0)[None, :]
    return gl.load(source + start[:, None] + place[None, :], mask=mask, other=0.0).to(gl.float32)


@gluon.jit
def _store_bytes(target, values):
    """Values of 8 significant bits as the sum of two fp8 numbers, in rows below one another."""
    ROWS: gl.constexpr = values.shape[0]
    high = values.to(gl.float8e4nv)
    target.slice(0, ROWS, dim=0).store(high)
    target.slice(ROWS, ROWS, dim=0).store((values - high.to(gl.float32)).to(gl.float8e4nv))


@gluon.jit
def load_queries(
    nope_ptr, rope_ptr, stride_nt, stride_nh, stride_rt, stride_rh, q_nope, q_rope, scales,
    scale, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, DIRECT: gl.constexpr,
):  # fmt: skip
    """The queries into shared memory, and what a row's scores are to be multiplied by.

    Pairs of fp8 numbers have less range than bf16: rows are brought near 256 by a power of two.
    """
    LAYOUT: gl.constexpr = gl.BlockedLayout([1, 4], [2, 16], [4, 1], [1, 0])
    ROWS: gl.constexpr = scales.shape[0]
    row = gl.program_id(0) * ROWS + gl.arange(0, ROWS, gl.SliceLayout(1, LAYOUT))
    inside = row < HEADS * Q_TOKENS
    token = (row // HEADS).to(gl.int64)
    head = (row % HEADS).to(gl.int64)
    nope_row = token * stride_nt + head * stride_nh
    rope_row = token * stride_rt + head * stride_rh
    power = gl.full([ROWS], 1.0, gl.float32, gl.SliceLayout(1, LAYOUT))
    if DIRECT:
        piece = _query_piece(rope_ptr, rope_row, inside, 2 * ROPE, -1)
        peak = gl.max(gl.abs(piece), 1)
        for half in gl.static_range(2):
            piece = _query_piece(nope_ptr + half * 2 * HALF, nope_row, inside, 2 * HALF, -1)
            peak = gl.maximum(peak, gl.max(gl.abs(piece), 1))
        power = row_power(peak) * 0.00390625
        for half in gl.static_range(2):
            piece = _query_piece(nope_ptr + half * 2 * HALF, nope_row, inside, 2 * HALF, -1)
            _store_bytes(q_nope.index(half), piece / power[:, None])
        piece = _query_piece(rope_ptr, rope_row, inside, 2 * ROPE, -1)
        _store_bytes(q_rope, piece / power[:, None])
    else:
        for part in gl.static_range(2):
            for half in gl.static_range(2):
                piece = _query_piece(nope_ptr + half * 2 * HALF, nope_row, inside, HALF, part)
                q_nope.index(part * 2 + half).store(piece.to(gl.float16))
            piece = _query_piece(rope_ptr, rope_row, inside, ROPE, part)
            q_rope.index(part).store(piece.to(gl.float16))
    scales.store(power * scale)


@gluon.jit
def _direct_scores(q_nope, q_rope, nope_ring, rope_ring, slot, LAYOUT: gl.constexpr):
    """Scores of a tile, its latents multiplied as they lie.  # [KEYS, ROWS]

    Tensor cores add up fp8 products with few bits, so they only do so for CHAIN entries at a time.
    """
    BOTH: gl.constexpr = q_rope.shape[0]
    D_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, BOTH, 32])
    WIDE: gl.constexpr = gl.NVMMASharedLayout(128, 8, 2)
    NARROW: gl.constexpr = gl.NVMMASharedLayout(64, 8, 2)
    none = gl.zeros([KEYS, BOTH], gl.float32, D_LAYOUT)
    held = rope_ring.index(slot).reshape([KEYS, ROPE])
    held = view(held, gl.float8e4nv, [KEYS, 2 * ROPE], NARROW)
    pending = mma(held, q_rope.permute([1, 0]), none, use_acc=False, is_async=True)
    total = none
    for half in gl.static_range(2):
        held = nope_ring.index(slot * 2 + half).reshape([KEYS, HALF])
        held = view(held, gl.float8e4nv, [KEYS, 2 * HALF], WIDE)
        for start in gl.static_range(0, 2 * HALF, CHAIN):
            queries = q_nope.index(half).slice(start, CHAIN, dim=1).permute([1, 0])
            latents = held.slice(start, CHAIN, dim=1)
            following = mma(latents, queries, none, use_acc=False, is_async=True)
            total += mma_wait(1, deps=[pending])
            pending = following
    total += mma_wait(0, deps=[pending])
    parts = total.reshape([KEYS, 2, BOTH // 2])
    return gl.convert_layout(gl.sum(parts, axis=1), LAYOUT)


@gluon.jit
def _latents(nope_ring, rope_ring, slot, piece: gl.constexpr):
    """A piece of each key of a tile: rope first, then the rank.  # [KEYS, ROPE] words"""
    if piece == 0:
        found = rope_ring.index(slot).reshape([KEYS, ROPE])
    else:
        PIECES: gl.constexpr = HALF // ROPE
        whole = nope_ring.index(slot * 2 + (piece - 1) // PIECES).reshape([KEYS, HALF])
        found = whole.slice((piece - 1) % PIECES * ROPE, ROPE, dim=1)
    return found


@gluon.jit
def _queries(q_nope, q_rope, piece: gl.constexpr, part: gl.constexpr):
    """The queries' entries that such a piece is multiplied by.  # [ROPE, ROWS]"""
    if piece == 0:
        found = q_rope.index(part)
    else:
        PIECES: gl.constexpr = HALF // ROPE
        whole = q_nope.index(part * 2 + (piece - 1) // PIECES)
        found = whole.slice((piece - 1) % PIECES * ROPE, ROPE, dim=1)
    return found.permute([1, 0])


@gluon.jit
def _widened_scores(q_nope, q_rope, nope_ring, rope_ring, slot, LAYOUT: gl.constexpr):
    """Scores of a tile, widened to fp16 in registers, piece by piece.  # [KEYS, ROWS]"""
    ROWS: gl.constexpr = q_rope.shape[1]
    A_LAYOUT: gl.constexpr = gl.DotOperandLayout(0, LAYOUT, 2)
    scores = gl.zeros([KEYS, ROWS], gl.float32, LAYOUT)
    for piece in gl.static_range(1 + 2 * HALF // ROPE):
        held = _latents(nope_ring, rope_ring, slot, piece).load(A_LAYOUT)
        first, second = neighbours(held, "fp8_ptx")
        queries = _queries(q_nope, q_rope, piece, 0)
        scores = mma(first, queries, scores, use_acc=piece > 0, is_async=True)
        scores = mma(second, _queries(q_nope, q_rope, piece, 1), scores, is_async=True)
        free_operands()
    return mma_wait(0, deps=[scores])


@triton.constexpr_function
def _every_warps(rows):
    """Layout of [4, rows], a row for each warp: a thread has its own columns of scores, of all."""
    columns = [[0, 1]] + [[0, 8 << i] for i in range((rows // 8).bit_length() - 1)]
    lanes = [[0, 2], [0, 4]] + [[0, 0]] * 3
    warps = [[1, 0], [2, 0]]
    return gl.DistributedLinearLayout(columns + warps, lanes, [[0, 0]] * 2, [], [4, rows])


@gluon.jit
def _of_all_warps(mine, S_ROWS: gl.constexpr, SUM: gl.constexpr):
    """The maximum or the sum over the keys of all warps, of scores or weights.  # [ROWS]"""
    ROWS: gl.constexpr = mine.shape[1]
    kept = mine.reshape([4, KEYS // 4, ROWS])
    LAYOUT: gl.constexpr = _every_warps(ROWS)
    if SUM:
        found = gl.sum(gl.convert_layout(gl.sum(kept, 1), LAYOUT), 0)
    else:
        found = gl.max(gl.convert_layout(gl.max(kept, 1), LAYOUT), 0)
    return gl.convert_layout(found, S_ROWS)


@gluon.jit
def score(
    given, HEADS: gl.constexpr, Q_TOKENS: gl.constexpr, DIRECT: gl.constexpr, TURN: gl.constexpr
):
    """Scores and softmax of all tiles, or of every other where two groups take turns.

    The other group's tile lies between two of these: its maximum is passed on, each keeps its sums.
    """
    (
        lse_ptr, scales, q_nope, q_rope, nope_ring, rope_ring, weight_smem, decay_smem, max_smem,
        end_smem, q_full, k_full, k_empty, weight_full, max_full, end_full, seqlen, begin, end,
        out_scale,
    ) = given  # fmt: skip
    GROUPS: gl.constexpr = 1 if DIRECT else 2
    ROWS: gl.constexpr = scales.shape[0]
    STAGES: gl.constexpr = k_full.shape[0]
    S_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, ROWS, 16])
    S_ROWS: gl.constexpr = gl.SliceLayout(0, S_LAYOUT)
    row = gl.program_id(0) * ROWS + gl.arange(0, ROWS, S_ROWS)
    keys_seen = seqlen - Q_TOKENS + row // HEADS + 1
    key = gl.arange(0, KEYS, gl.SliceLayout(1, S_LAYOUT))
    row_max = gl.full([ROWS], -float("inf"), gl.float32, S_ROWS)
    sums = gl.zeros([KEYS, ROWS], gl.float32, S_LAYOUT)  # added up across keys at the end
    mbarrier.wait(q_full, 0)
    for tile in range(begin + TURN, end, GROUPS):
        count = tile - begin
        slot = count % STAGES
        place = count % 2
        mbarrier.wait(k_full.index(slot), count // STAGES & 1)
        if DIRECT:
            scores = _direct_scores(q_nope, q_rope, nope_ring, rope_ring, slot, S_LAYOUT)
        else:
            scores = _widened_scores(q_nope, q_rope, nope_ring, rope_ring, slot, S_LAYOUT)
        scores = scores * scales.load(S_ROWS)[None, :]
        if (tile + 1) * KEYS > seqlen - Q_TOKENS + 1:
            limit = keys_seen - tile * KEYS
            scores = gl.where(key[:, None] < limit[None, :], scores, -float("inf"))
        tile_max = _of_all_warps(scores, S_ROWS, False)
        before = row_max
        if GROUPS == 2:
            mbarrier.wait(max_full.index(1 - TURN), count // 2 & 1 ^ 1 ^ TURN)
            before = max_smem.index(1 - TURN).load(S_ROWS)
        new_max = gl.maximum(before, tile_max)
        if GROUPS == 2:
            max_smem.index(TURN).store(new_max)
            mbarrier.arrive(max_full.index(TURN), count=1)
        shift = gl.where(new_max == -float("inf"), 0.0, new_max)
        if count >= 2:  # the weights two tiles ago have been used
            mbarrier.wait(k_empty.index((count - 2) % STAGES), (count - 2) // STAGES & 1)
        decay_smem.index(place).store(gl.exp2(before - shift))
        weights = gl.exp2(scores - shift[None, :])
        sums = sums * gl.exp2(row_max - shift)[None, :] + weights
        row_max = new_max
        weight_smem.index(place).permute([1, 0]).store(weights.to(gl.float16))
        fence()
        mbarrier.arrive(weight_full.index(place), count=1)
    total = _of_all_warps(sums, S_ROWS, True)
    if TURN == 1:
        end_smem.index(0).store(row_max)
        end_smem.index(1).store(total)
        mbarrier.arrive(end_full.index(0), count=1)
    else:
        last_max = row_max
        if GROUPS == 2:
            mbarrier.wait(end_full.index(0), 0)
            other_max = end_smem.index(0).load(S_ROWS)
            last_max = gl.maximum(row_max, other_max)
            shift = gl.where(last_max == -float("inf"), 0.0, last_max)
            total = total * gl.exp2(row_max - shift)
            total += end_smem.index(1).load(S_ROWS) * gl.exp2(other_max - shift)
        total = gl.where(total == 0.0, 1.0, total)  # queries with nothing to attend to
        end_smem.index(2).store(out_scale / total)
        mbarrier.arrive(end_full.index(1), count=1)
        result = result_place(row, HEADS, Q_TOKENS)
        lse = (last_max + gl.log2(total)) * 0.6931471805599453
        gl.store(lse_ptr + result, lse, mask=row < HEADS * Q_TOKENS)
