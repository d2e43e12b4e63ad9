"""The split kernel of paged decode attention.

Each program takes the query rows of HEADS KV heads (each head's padded to a power of two for the
tensor cores) and one split of one sequence, and gathers its pages through the block table. The
first `whole` sequences are not split; their programs write the result itself. With
several heads every tensor below has them as its first dimension, and each warp works on a head of
its own: no warp waits for another, and the heads' bytes, neighbours in memory, are read together.
"""

import triton
import triton.language as tl

from kernels.packed_bytes import row_power, unpack_bytes


@triton.jit(
    do_not_specialize=[
        "window_left", "whole", "num_splits", "max_blocks", "num_blocks", "kv_heads",
    ]
)  # fmt: skip
def paged_decode_kernel(
    q,  # [batch, q_tokens, heads, head_dim]
    k_cache,  # [num_blocks, block_size, kv_heads, head_dim]
    v_cache,  # [num_blocks, block_size, kv_heads, head_dim_v]
    block_table,  # [batch, max_blocks] int32
    cache_seqlens,  # [batch] int32
    k_scale,  # fp32, one element or [num_blocks, block_size, kv_heads]
    v_scale,
    out,  # [batch * q_tokens * heads, head_dim_v]
    lse,  # [batch * q_tokens * heads] fp32
    partial_out,  # [(batch - whole) * q_tokens * heads, num_splits, head_dim_v] fp32
    partial_lse,  # [(batch - whole) * q_tokens * heads, num_splits] fp32
    score_scale,  # softmax_scale * log2(e), times k_scale where that is a number
    out_scale,  # v_scale where that is a number
    window_left,
    whole,
    num_splits,
    max_blocks,
    num_blocks,
    kv_heads,
    stride_qb,
    stride_qt,
    stride_qh,
    stride_kb,
    stride_kt,
    stride_kh,
    stride_vb,
    stride_vt,
    stride_vh,
    stride_table,
    Q_TOKENS: tl.constexpr,
    GROUP: tl.constexpr,
    ROW_BLOCKS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    HEAD_DIM_V: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    COMPUTE: tl.constexpr,
    PACKED: tl.constexpr,  # the caches are int16 words of two entries; HEAD_DIM counts words
    HAS_WINDOW: tl.constexpr,
    K_SCALE: tl.constexpr,  # "number", "element" or "token_head"
    V_SCALE: tl.constexpr,
    SAME_STRIDES: tl.constexpr,  # of blocks and tokens, in K and in V
    OVERLAP_LAUNCH: tl.constexpr,
    HEADS: tl.constexpr,  # a power of two that divides kv_heads
):
    programs = kv_heads // HEADS * ROW_BLOCKS
    head_block = tl.program_id(0) % programs
    part = tl.maximum(tl.program_id(0) // programs - whole, 0)  # of the sequences that are split
    seq = tl.minimum(tl.program_id(0) // programs, whole) + part // num_splits
    splits = tl.where(seq < whole, 1, num_splits)
    split = part % num_splits
    row = (head_block % ROW_BLOCKS) * BLOCK_M + tl.arange(0, BLOCK_M)
    token = row // GROUP
    row_valid = row < GROUP * Q_TOKENS
    offs_n = tl.arange(0, BLOCK_N)
    if HEADS == 1:
        kv_head = head_block // ROW_BLOCKS
        head_of_row, head_of_tile = kv_head, kv_head
        offs_d = tl.arange(0, BLOCK_D)[None, :]
        offs_dv = tl.arange(0, BLOCK_DV)[None, :]
        acc = tl.zeros([BLOCK_M, BLOCK_DV], tl.float32)
        sums = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)  # added up across columns at the end
        row_max = tl.full([BLOCK_M], float("-inf"), tl.float32)
        row_scale = tl.full([BLOCK_M], 1.0, tl.float32) * score_scale
    else:
        kv_head = head_block // ROW_BLOCKS * HEADS + tl.arange(0, HEADS)
        head_of_row, head_of_tile = kv_head[:, None], kv_head[:, None, None]
        row_valid = tl.broadcast_to(row_valid[None, :], [HEADS, BLOCK_M])
        offs_d = tl.arange(0, BLOCK_D)[None, None, :]
        offs_dv = tl.arange(0, BLOCK_DV)[None, None, :]
        acc = tl.zeros([HEADS, BLOCK_M, BLOCK_DV], tl.float32)
        sums = tl.zeros([HEADS, BLOCK_M, BLOCK_N], tl.float32)
        row_max = tl.full([HEADS, BLOCK_M], float("-inf"), tl.float32)
        row_scale = tl.full([HEADS, BLOCK_M], 1.0, tl.float32) * score_scale
    acc_odd = acc
    head = head_of_row * GROUP + row % GROUP  # [(HEADS,) BLOCK_M]

    seqlen = tl.load(cache_seqlens + seq)
    seqlen = tl.minimum(tl.maximum(seqlen, 0), max_blocks * BLOCK_SIZE)
    position = seqlen - Q_TOKENS + token  # of each query row [BLOCK_M]
    first_tile = 0
    if HAS_WINDOW:
        first_tile = tl.maximum(seqlen - Q_TOKENS - window_left, 0) // BLOCK_N
    tiles = tl.cdiv(seqlen, BLOCK_N) - first_tile
    begin = first_tile + split * tiles // splits
    end = first_tile + (split + 1) * tiles // splits

    ENTRIES: tl.constexpr = 1 if PACKED == "none" else 2
    offs_q = tl.arange(0, BLOCK_D * ENTRIES)
    query = tl.load(
        q
        + seq.to(tl.int64) * stride_qb
        + token[:, None].to(tl.int64) * stride_qt
        + tl.expand_dims(head, -1).to(tl.int64) * stride_qh
        + offs_q[None, :],
        mask=tl.expand_dims(row_valid, -1) & (offs_q[None, :] < HEAD_DIM * ENTRIES),
        other=0.0,
    )  # [(HEADS,) BLOCK_M, BLOCK_D * ENTRIES]
    if query.dtype == tl.bfloat16 and PACKED != "none":
        # fp16 has less range than bf16: bring each row near 1 by a power of two, undone in scale.
        peak = tl.max(tl.abs(query.to(tl.float32)), axis=-1)
        power = row_power(peak)
        query = query.to(tl.float32) / tl.expand_dims(power, -1)
        row_scale *= power
    query = query.to(COMPUTE)
    if PACKED != "none":
        if HEADS == 1:
            query = tl.reshape(query, [BLOCK_M, BLOCK_D, 2])
        else:
            query = tl.reshape(query, [HEADS, BLOCK_M, BLOCK_D, 2])
        query, query_odd = tl.split(query)
    if K_SCALE == "element":
        row_scale *= tl.load(k_scale)
    k_base = k_cache + head_of_tile.to(tl.int64) * stride_kh + offs_d
    v_base = v_cache + head_of_tile.to(tl.int64) * stride_vh + offs_dv
    table = block_table + seq.to(tl.int64) * stride_table

    # Past the end the last key is read again: its score is masked, and nothing unused is touched.
    last = tl.maximum(seqlen - 1, 0)
    place = tl.minimum(begin * BLOCK_N + offs_n, last).to(tl.uint32)
    page = tl.load(table + place // BLOCK_SIZE)
    last_page = (num_blocks - 1).to(tl.uint32)
    for tile in range(begin, end):
        key = tile * BLOCK_N + offs_n
        slot = (tl.minimum(key, last).to(tl.uint32) % BLOCK_SIZE).to(tl.int32)
        # Unsigned, a negative page is as far out of range as one too large.
        this_page = tl.minimum(page.to(tl.uint32), last_page).to(tl.int64)
        # One tile ahead, so that the gathers below never wait for the table.
        place = tl.minimum(key + BLOCK_N, last).to(tl.uint32)
        page = tl.load(table + place // BLOCK_SIZE)
        offset = this_page * stride_kb + slot * stride_kt
        k_place = k_base + offset[:, None]
        if not SAME_STRIDES:
            offset = this_page * stride_vb + slot * stride_vt
        v_place = v_base + offset[:, None]
        if HEAD_DIM == BLOCK_D:
            keys = tl.load(k_place)  # [(HEADS,) BLOCK_N, BLOCK_D]
        else:
            keys = tl.load(k_place, mask=offs_d < HEAD_DIM, other=0)
        if HEAD_DIM_V == BLOCK_DV:
            values = tl.load(v_place)  # [(HEADS,) BLOCK_N, BLOCK_DV]
        else:
            values = tl.load(v_place, mask=offs_dv < HEAD_DIM_V, other=0)
        keys = tl.trans(keys) if HEADS == 1 else tl.trans(keys, (0, 2, 1))
        if PACKED == "none":
            scores = tl.dot(query, keys, input_precision="ieee")
        else:
            even, odd = unpack_bytes(keys, PACKED, COMPUTE)
            scores = tl.dot(query, even, input_precision="ieee")
            scores = tl.dot(query_odd, odd, scores, input_precision="ieee")
        scores *= tl.expand_dims(row_scale, -1)
        scale_offset = (this_page * BLOCK_SIZE + slot) * kv_heads + head_of_row
        if K_SCALE == "token_head":
            scores *= tl.expand_dims(tl.load(k_scale + scale_offset), -2)
        allowed = key[None, :] <= position[:, None]
        if Q_TOKENS == 1:
            allowed = (key < seqlen)[None, :]
        if HAS_WINDOW:
            allowed &= key[None, :] >= position[:, None] - window_left
        scores = tl.where(allowed, scores, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=-1))
        shift = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(scores - tl.expand_dims(shift, -1))
        rescale = tl.exp2(row_max - shift)
        decay = tl.expand_dims(rescale, -1)
        sums = sums * decay + weights
        row_max = new_max
        if V_SCALE == "token_head":
            weights *= tl.expand_dims(tl.load(v_scale + scale_offset), -2)
        weights = weights.to(COMPUTE)
        acc *= decay
        if PACKED == "none":
            acc = tl.dot(weights, values, acc, input_precision="ieee")
        else:
            even, odd = unpack_bytes(values, PACKED, COMPUTE)
            acc = tl.dot(weights, even, acc, input_precision="ieee")
            acc_odd = tl.dot(weights, odd, acc_odd * decay, input_precision="ieee")
    if OVERLAP_LAUNCH:
        tl.extra.cuda.gdc_launch_dependents()

    if V_SCALE == "element":
        out_scale = tl.load(v_scale)
    row_sum = tl.sum(sums, axis=-1)
    row_sum = tl.where(row_sum == 0.0, 1.0, row_sum)  # rows with nothing to attend to
    norm = tl.expand_dims(out_scale / row_sum, -1)
    acc *= norm
    if PACKED != "none":
        acc = tl.interleave(acc, acc_odd * norm)
    offs_out = tl.arange(0, BLOCK_DV * ENTRIES)
    # The factor ln(2) gives the natural logarithm.
    row_lse = (row_max + tl.log2(row_sum)) * 0.6931471805599453
    place = ((seq * Q_TOKENS + token) * (kv_heads * GROUP) + head).to(tl.int64)
    column = offs_out[None, :]
    inside = tl.expand_dims(row_valid, -1) & (column < HEAD_DIM_V * ENTRIES)
    if seq < whole:
        tl.store(lse + place, row_lse, mask=row_valid)
        target = out + tl.expand_dims(place, -1) * (HEAD_DIM_V * ENTRIES) + column
        tl.store(target, acc.to(out.dtype.element_ty), mask=inside)
    else:
        place = (place - whole * (Q_TOKENS * kv_heads * GROUP)) * num_splits + split
        tl.store(partial_lse + place, row_lse, mask=row_valid)
        if begin < end:
            target = partial_out + tl.expand_dims(place, -1) * (HEAD_DIM_V * ENTRIES) + column
            tl.store(target, acc, mask=inside)
