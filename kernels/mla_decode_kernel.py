"""The kernel of multi-head latent attention, absorbed: one shared key and value per token."""

import triton
import triton.language as tl

from kernels.packed_bytes import row_power, unpack_bytes


@triton.jit(do_not_specialize=["num_splits", "max_blocks", "num_blocks"])
def mla_decode_kernel(
    q_nope,  # [batch, q_tokens, heads, rank]
    q_rope,  # [batch, q_tokens, heads, rope]
    latent,  # [num_blocks, block_size, rank + rope]
    block_table,  # [batch, max_blocks] int32
    cache_seqlens,  # [batch] int32
    latent_scale,  # fp32, one element
    out,  # [batch * q_tokens * heads, num_splits, rank]
    lse,  # [batch * q_tokens * heads, num_splits] fp32
    score_scale,  # softmax_scale * log2(e), times latent_scale where that is a number
    out_scale,  # latent_scale where that is a number
    num_splits,
    max_blocks,
    num_blocks,
    stride_nb,
    stride_nt,
    stride_nh,
    stride_rb,
    stride_rt,
    stride_rh,
    stride_lb,
    stride_lt,
    stride_table,
    Q_TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    RANK: tl.constexpr,
    ROPE: tl.constexpr,
    BLOCK_SIZE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    COMPUTE: tl.constexpr,
    PACKED: tl.constexpr,  # the cache is int16 words of two entries; RANK and ROPE count words
    HAS_SCALE: tl.constexpr,
    OVERLAP_LAUNCH: tl.constexpr,
):
    ENTRIES: tl.constexpr = 1 if PACKED == "none" else 2
    split = tl.program_id(1)
    seq = tl.program_id(2)
    row = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    row_valid = row < HEADS * Q_TOKENS
    token = row // HEADS
    head = row % HEADS
    offs_n = tl.arange(0, BLOCK_N)
    offs_rank = tl.arange(0, RANK)
    offs_rope = tl.arange(0, ROPE)
    offs_out = tl.arange(0, RANK * ENTRIES)

    seqlen = tl.load(cache_seqlens + seq)
    seqlen = tl.minimum(tl.maximum(seqlen, 0), max_blocks * BLOCK_SIZE)
    position = seqlen - Q_TOKENS + token
    tiles = tl.cdiv(seqlen, BLOCK_N)
    begin = split * tiles // num_splits
    end = (split + 1) * tiles // num_splits

    seq64 = seq.to(tl.int64)
    nope_row = seq64 * stride_nb + token.to(tl.int64) * stride_nt + head.to(tl.int64) * stride_nh
    nope = tl.load(
        q_nope + nope_row[:, None] + offs_out[None, :], mask=row_valid[:, None], other=0.0
    )  # [BLOCK_M, RANK * ENTRIES]
    rope_row = seq64 * stride_rb + token.to(tl.int64) * stride_rt + head.to(tl.int64) * stride_rh
    rope = tl.load(
        q_rope + rope_row[:, None] + tl.arange(0, ROPE * ENTRIES)[None, :],
        mask=row_valid[:, None],
        other=0.0,
    )  # [BLOCK_M, ROPE * ENTRIES]
    if HAS_SCALE:
        out_scale = tl.load(latent_scale)
        score_scale *= out_scale
    if PACKED != "none":
        row_scale = tl.full([BLOCK_M], 1.0, tl.float32) * score_scale
        if nope.dtype == tl.bfloat16:
            # fp16 has less range than bf16: bring each row near 1 by a power of two.
            peak = tl.maximum(
                tl.max(tl.abs(nope.to(tl.float32)), axis=1),
                tl.max(tl.abs(rope.to(tl.float32)), axis=1),
            )
            power = row_power(peak)
            nope = nope.to(tl.float32) / power[:, None]
            rope = rope.to(tl.float32) / power[:, None]
            row_scale *= power
        nope, nope_odd = tl.split(tl.reshape(nope.to(COMPUTE), [BLOCK_M, RANK, 2]))
        rope, rope_odd = tl.split(tl.reshape(rope.to(COMPUTE), [BLOCK_M, ROPE, 2]))

    acc = tl.zeros([BLOCK_M, RANK], tl.float32)
    acc_odd = tl.zeros([BLOCK_M, RANK], tl.float32)
    row_max = tl.full([BLOCK_M], float("-inf"), tl.float32)
    # Added up across columns at the end, where there are registers to keep them apart.
    sums = tl.zeros([BLOCK_M, BLOCK_N if BLOCK_M < 64 else 1], tl.float32)
    table = block_table + seq64 * stride_table
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
        row_base = latent + (this_page * stride_lb + slot * stride_lt)[:, None]
        values = tl.load(row_base + offs_rank[None, :])  # [BLOCK_N, RANK]
        turned = tl.load(row_base + RANK + offs_rope[None, :])  # [BLOCK_N, ROPE]
        if PACKED == "none":
            scores = tl.dot(nope, tl.trans(values), input_precision="ieee")
            scores = tl.dot(rope, tl.trans(turned), scores, input_precision="ieee") * score_scale
        else:
            even, odd = unpack_bytes(tl.trans(values), PACKED, COMPUTE)
            # Two chains of products: in one, each waits for the one before.
            scores = tl.dot(nope, even, input_precision="ieee")
            scores_odd = tl.dot(nope_odd, odd, input_precision="ieee")
            even, odd = unpack_bytes(tl.trans(turned), PACKED, COMPUTE)
            scores = tl.dot(rope, even, scores, input_precision="ieee")
            scores_odd = tl.dot(rope_odd, odd, scores_odd, input_precision="ieee")
            scores = (scores + scores_odd) * row_scale[:, None]
        allowed = key[None, :] <= position[:, None]
        if Q_TOKENS == 1:
            allowed = (key < seqlen)[None, :]
        scores = tl.where(allowed, scores, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        shift = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(scores - shift[:, None])
        rescale = tl.exp2(row_max - shift)
        sums *= rescale[:, None]
        sums += weights if BLOCK_M < 64 else tl.sum(weights, axis=1)[:, None]
        row_max = new_max
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

    row_sum = tl.sum(sums, axis=1)
    row_sum = tl.where(row_sum == 0.0, 1.0, row_sum)  # rows with nothing to attend to
    norm = out_scale / row_sum
    acc *= norm[:, None]
    if PACKED != "none":
        acc = tl.interleave(acc, acc_odd * norm[:, None])
    result = ((seq64 * Q_TOKENS + token) * HEADS + head) * num_splits + split
    # The factor ln(2) gives the natural logarithm.
    tl.store(lse + result, (row_max + tl.log2(row_sum)) * 0.6931471805599453, mask=row_valid)
    if (begin < end) | (num_splits == 1):
        tl.store(
            out + result[:, None] * (RANK * ENTRIES) + offs_out[None, :],
            acc.to(out.dtype.element_ty),
            mask=row_valid[:, None],
        )
