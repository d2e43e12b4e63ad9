"""The split kernel of paged decode attention.

Each program takes the query rows of one KV head (padded to a power of two for the tensor cores)
and one split of one sequence, and gathers its pages through the block table.
"""

import triton
import triton.language as tl

from kernels.packed_bytes import unpack_bytes


@triton.jit(do_not_specialize=["window_left", "num_splits", "max_blocks", "num_blocks", "kv_heads"])
def paged_decode_kernel(
    q,  # [batch, q_tokens, heads, head_dim]
    k_cache,  # [num_blocks, block_size, kv_heads, head_dim]
    v_cache,  # [num_blocks, block_size, kv_heads, head_dim_v]
    block_table,  # [batch, max_blocks] int32
    cache_seqlens,  # [batch] int32
    k_scale,  # fp32, one element or [num_blocks, block_size, kv_heads]
    v_scale,
    out,  # [batch * q_tokens * heads, num_splits, head_dim_v]
    lse,  # [batch * q_tokens * heads, num_splits] fp32
    score_scale,  # softmax_scale * log2(e), times k_scale where that is a number
    out_scale,  # v_scale where that is a number
    window_left,
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
):
    kv_head = tl.program_id(0) // ROW_BLOCKS
    split = tl.program_id(1)
    seq = tl.program_id(2)
    row = (tl.program_id(0) % ROW_BLOCKS) * BLOCK_M + tl.arange(0, BLOCK_M)
    row_valid = row < GROUP * Q_TOKENS
    token = row // GROUP
    head = kv_head * GROUP + row % GROUP
    offs_d = tl.arange(0, BLOCK_D)
    offs_dv = tl.arange(0, BLOCK_DV)
    offs_n = tl.arange(0, BLOCK_N)

    seqlen = tl.load(cache_seqlens + seq)
    seqlen = tl.minimum(tl.maximum(seqlen, 0), max_blocks * BLOCK_SIZE)
    position = seqlen - Q_TOKENS + token  # of each query row [BLOCK_M]
    first_tile = 0
    if HAS_WINDOW:
        first_tile = tl.maximum(seqlen - Q_TOKENS - window_left, 0) // BLOCK_N
    tiles = tl.cdiv(seqlen, BLOCK_N) - first_tile
    begin = first_tile + split * tiles // num_splits
    end = first_tile + (split + 1) * tiles // num_splits

    ENTRIES: tl.constexpr = 1 if PACKED == "none" else 2
    offs_q = tl.arange(0, BLOCK_D * ENTRIES)
    query = tl.load(
        q
        + seq.to(tl.int64) * stride_qb
        + token[:, None].to(tl.int64) * stride_qt
        + head[:, None].to(tl.int64) * stride_qh
        + offs_q[None, :],
        mask=row_valid[:, None] & (offs_q[None, :] < HEAD_DIM * ENTRIES),
        other=0.0,
    )  # [BLOCK_M, BLOCK_D * ENTRIES]
    row_scale = tl.full([BLOCK_M], 1.0, tl.float32) * score_scale
    if query.dtype == tl.bfloat16 and PACKED != "none":
        # fp16 has less range than bf16: bring each row near 1 by a power of two, undone in scale.
        peak = tl.max(tl.abs(query.to(tl.float32)), axis=1)
        power = tl.exp2(tl.ceil(tl.log2(tl.where(peak > 0, peak, 1.0))))
        query = query.to(tl.float32) / power[:, None]
        row_scale *= power
    query = query.to(COMPUTE)
    if PACKED != "none":
        query, query_odd = tl.split(tl.reshape(query, [BLOCK_M, BLOCK_D, 2]))
    if K_SCALE == "element":
        row_scale *= tl.load(k_scale)
    k_base = k_cache + kv_head.to(tl.int64) * stride_kh + offs_d[None, :]
    v_base = v_cache + kv_head.to(tl.int64) * stride_vh + offs_dv[None, :]
    table = block_table + seq.to(tl.int64) * stride_table

    acc = tl.zeros([BLOCK_M, BLOCK_DV], tl.float32)
    acc_odd = tl.zeros([BLOCK_M, BLOCK_DV], tl.float32)
    row_max = tl.full([BLOCK_M], float("-inf"), tl.float32)
    sums = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)  # added up across columns at the end
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
            keys = tl.load(k_place)  # [BLOCK_N, BLOCK_D]
        else:
            keys = tl.load(k_place, mask=offs_d[None, :] < HEAD_DIM, other=0)
        if HEAD_DIM_V == BLOCK_DV:
            values = tl.load(v_place)  # [BLOCK_N, BLOCK_DV]
        else:
            values = tl.load(v_place, mask=offs_dv[None, :] < HEAD_DIM_V, other=0)
        if PACKED == "none":
            scores = tl.dot(query, tl.trans(keys), input_precision="ieee")
        else:
            even, odd = unpack_bytes(tl.trans(keys), PACKED, COMPUTE)
            scores = tl.dot(query, even, input_precision="ieee")
            scores = tl.dot(query_odd, odd, scores, input_precision="ieee")
        scores *= row_scale[:, None]
        scale_offset = (this_page * BLOCK_SIZE + slot) * kv_heads + kv_head
        if K_SCALE == "token_head":
            scores *= tl.load(k_scale + scale_offset)[None, :]
        allowed = key[None, :] <= position[:, None]
        if Q_TOKENS == 1:
            allowed = (key < seqlen)[None, :]
        if HAS_WINDOW:
            allowed &= key[None, :] >= position[:, None] - window_left
        scores = tl.where(allowed, scores, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        shift = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(scores - shift[:, None])
        rescale = tl.exp2(row_max - shift)
        sums = sums * rescale[:, None] + weights
        row_max = new_max
        if V_SCALE == "token_head":
            weights *= tl.load(v_scale + scale_offset)[None, :]
        weights = weights.to(COMPUTE)
        acc *= rescale[:, None]
        if PACKED == "none":
            acc = tl.dot(weights, values, acc, input_precision="ieee")
        else:
            even, odd = unpack_bytes(values, PACKED, COMPUTE)
            acc = tl.dot(weights, even, acc, input_precision="ieee")
            acc_odd = tl.dot(weights, odd, acc_odd * rescale[:, None], input_precision="ieee")
    if OVERLAP_LAUNCH:
        tl.extra.cuda.gdc_launch_dependents()

    if V_SCALE == "element":
        out_scale = tl.load(v_scale)
    row_sum = tl.sum(sums, axis=1)
    row_sum = tl.where(row_sum == 0.0, 1.0, row_sum)  # rows with nothing to attend to
    norm = out_scale / row_sum
    acc *= norm[:, None]
    if PACKED != "none":
        acc = tl.interleave(acc, acc_odd * norm[:, None])
    offs_out = tl.arange(0, BLOCK_DV * ENTRIES)
    # The factor ln(2) gives the natural logarithm.
    row_lse = (row_max + tl.log2(row_sum)) * 0.6931471805599453
    place = ((seq * Q_TOKENS + token) * (kv_heads * GROUP) + head).to(tl.int64)
    place = place * num_splits + split
    tl.store(lse + place, row_lse, mask=row_valid)
    if (begin < end) | (num_splits == 1):
        tl.store(
            out + place[:, None] * (HEAD_DIM_V * ENTRIES) + offs_out[None, :],
            acc.to(out.dtype.element_ty),
            mask=row_valid[:, None] & (offs_out[None, :] < HEAD_DIM_V * ENTRIES),
        )
