"""Decode attention over a paged KV cache, split over the sequence so that one user fills the card.

    out = paged_decode_attention(q, k_cache, v_cache, block_table, cache_seqlens)

Each program takes the query rows of one KV head (padded to a power of two for the tensor cores)
and one split of one sequence, gathers its pages through the block table and leaves a partial
result; `combine_splits` joins them. One split writes the result itself.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.checks import (
    FLOATS,
    capability,
    check_device,
    check_dtype,
    check_fp8_device,
    check_head_dim,
    check_heads,
    check_rows_contiguous,
    check_shape,
    check_window,
)
from kernels.combine import combine_splits, overlaps_launch
from kernels.decode_checks import (
    QUANTISED,
    check_block_size,
    check_cache_dtype,
    check_kv_scale,
    check_table,
    check_table_contents,
)
from kernels.decode_tiles import DecodeTile, paged_tile, sm_count, split_count
from kernels.packed_bytes import as_words, compute_dtype, packing, unpack_bytes
from kernels.tiles import padded_head_dim

LOG2E = 1.4426950408889634


@triton.jit
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
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    key = begin * BLOCK_N + offs_n
    page = tl.load(table + key // BLOCK_SIZE, mask=key < seqlen, other=0)
    for tile in range(begin, end):
        key = tile * BLOCK_N + offs_n
        key_valid = key < seqlen
        this_page = tl.minimum(tl.maximum(page, 0), num_blocks - 1).to(tl.int64)
        slot = key % BLOCK_SIZE
        # One tile ahead, so that the gathers below never wait for the table.
        page = tl.load(table + (key + BLOCK_N) // BLOCK_SIZE, mask=key + BLOCK_N < seqlen, other=0)
        keys = tl.load(
            k_base + (this_page * stride_kb + slot * stride_kt)[:, None],
            mask=key_valid[:, None] & (offs_d[None, :] < HEAD_DIM),
            other=0,
        )  # [BLOCK_N, BLOCK_D]
        values = tl.load(
            v_base + (this_page * stride_vb + slot * stride_vt)[:, None],
            mask=key_valid[:, None] & (offs_dv[None, :] < HEAD_DIM_V),
            other=0,
        )  # [BLOCK_N, BLOCK_DV]
        if PACKED == "none":
            scores = tl.dot(query, tl.trans(keys), input_precision="ieee")
        else:
            even, odd = unpack_bytes(tl.trans(keys), PACKED, COMPUTE)
            scores = tl.dot(query, even, input_precision="ieee")
            scores = tl.dot(query_odd, odd, scores, input_precision="ieee")
        scores *= row_scale[:, None]
        scale_offset = (this_page * BLOCK_SIZE + slot) * kv_heads + kv_head
        if K_SCALE == "token_head":
            scores *= tl.load(k_scale + scale_offset, mask=key_valid, other=0.0)[None, :]
        allowed = key[None, :] <= position[:, None]
        if HAS_WINDOW:
            allowed &= key[None, :] >= position[:, None] - window_left
        scores = tl.where(allowed, scores, float("-inf"))
        new_max = tl.maximum(row_max, tl.max(scores, axis=1))
        shift = tl.where(new_max == float("-inf"), 0.0, new_max)
        weights = tl.exp2(scores - shift[:, None])
        rescale = tl.exp2(row_max - shift)
        row_sum = row_sum * rescale + tl.sum(weights, axis=1)
        row_max = new_max
        if V_SCALE == "token_head":
            weights *= tl.load(v_scale + scale_offset, mask=key_valid, other=0.0)[None, :]
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


def scale_mode(scale: float | torch.Tensor) -> str:
    if not isinstance(scale, torch.Tensor):
        return "number"
    return "element" if scale.numel() == 1 else "token_head"


def paged_constexprs(
    q: torch.dtype,
    cache: torch.dtype,
    tile: DecodeTile,
    *,
    q_tokens: int,
    group: int,
    head_dim: int,
    head_dim_v: int,
    block_size: int,
    has_window: bool = False,
    k_scale: str = "number",
    v_scale: str = "number",
    overlap_launch: bool = False,
) -> dict[str, Any]:
    """The kernel's compile-time arguments, for a launch or an ahead-of-time compile."""
    rows = group * q_tokens
    block_m = tile.block_m
    compute = compute_dtype(q, cache)
    entries = 2 if cache in QUANTISED else 1
    return {
        "Q_TOKENS": q_tokens,
        "GROUP": group,
        "ROW_BLOCKS": -(-rows // block_m),
        "HEAD_DIM": head_dim // entries,
        "HEAD_DIM_V": head_dim_v // entries,
        "BLOCK_SIZE": block_size,
        "BLOCK_M": block_m,
        "BLOCK_N": tile.block_n,
        "BLOCK_D": padded_head_dim(head_dim) // entries,
        "BLOCK_DV": padded_head_dim(head_dim_v) // entries,
        "COMPUTE": compute,
        "PACKED": packing(cache, compute),
        "HAS_WINDOW": has_window,
        "K_SCALE": k_scale,
        "V_SCALE": v_scale,
        "OVERLAP_LAUNCH": overlap_launch,
    }


def paged_decode_attention(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    cache_seqlens: torch.Tensor,
    *,
    softmax_scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    num_splits: int | None = None,
    k_scale: float | torch.Tensor | None = None,
    v_scale: float | torch.Tensor | None = None,
    return_lse: bool = False,
    check: bool = False,
    tile: DecodeTile | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention of the newest tokens of each sequence over its pages.

    q: [batch, heads, head_dim], or [batch, q_tokens, heads, head_dim] for several new tokens a
    sequence (speculative verification), causal among themselves; fp16, bf16 or fp32. The new
    tokens' keys are already in the cache and counted in `cache_seqlens`.
    k_cache, v_cache: [num_blocks, block_size, kv_heads, head_dim(_v)] in q's dtype, fp8 e4m3 or
    int8; block_size a multiple of 16 up to 256.
    block_table: int32 [batch, max_blocks]; entries past the length are never followed.
    cache_seqlens: int32 [batch]; 0 gives out 0 and lse -inf.
    window_size: (left, right) keys beside each query; attention is causal, so right has no effect.
    num_splits: None fills one wave of the card, chosen from shapes (no wait for the GPU).
    k_scale, v_scale: dequantisation factors: a number, a tensor of one float32, or one float32
    per token and head, [num_blocks, block_size, kv_heads].
    check: also validate lengths and pages on the GPU, which waits for it (always done on CPU
    tensors); unchecked values out of range are clamped into the table and the cache.
    Returns out, q's shape with head_dim_v last, in q's dtype; with return_lse also the natural log
    of the softmax sums, fp32 [batch, heads] or [batch, heads, q_tokens].
    Raises ValueError or TypeError, in one sentence, before anything is launched.
    """
    if q.dim() not in (3, 4):
        raise ValueError(
            "q must be [batch, heads, head_dim] or [batch, q_tokens, heads, head_dim], "
            f"but its shape is {list(q.shape)}"
        )
    query = q.unsqueeze(1) if q.dim() == 3 else q
    batch, q_tokens, heads, head_dim = query.shape
    check_shape("k_cache", k_cache, num_blocks=None, block_size=None, kv_heads=None, D=head_dim)
    num_blocks, block_size, kv_heads, _ = k_cache.shape
    head_dim_v = v_cache.shape[-1]
    check_shape(
        "v_cache", v_cache, num_blocks=num_blocks, block_size=block_size, kv_heads=kv_heads, D=None
    )
    check_block_size(block_size)
    check_heads(heads, kv_heads)
    check_head_dim("k_cache", head_dim)
    check_head_dim("v_cache", head_dim_v)
    check_dtype("q", q, FLOATS)
    check_cache_dtype("k_cache", k_cache, q)
    check_dtype("v_cache", v_cache, (k_cache.dtype,))
    check_table(block_table, cache_seqlens, batch)
    check_device(q=q, k_cache=k_cache, v_cache=v_cache, block_table=block_table)
    check_device(q=q, cache_seqlens=cache_seqlens)
    check_fp8_device("k_cache", k_cache)
    check_rows_contiguous(q=q, k_cache=k_cache, v_cache=v_cache, block_table=block_table)
    left, _ = check_window(window_size)
    k_factor = check_kv_scale("k_scale", k_scale, k_cache)
    v_factor = check_kv_scale("v_scale", v_scale, v_cache)
    if num_splits is not None and num_splits < 1:
        raise ValueError(f"num_splits is {num_splits}; it must be at least 1, or None")
    if check or not q.is_cuda:
        check_table_contents(block_table, cache_seqlens, num_blocks, block_size)

    out = torch.empty((*q.shape[:-1], head_dim_v), dtype=q.dtype, device=q.device)
    keys, values = as_words("k_cache", k_cache), as_words("v_cache", v_cache)
    lse = torch.empty((batch, q_tokens, heads), dtype=torch.float32, device=q.device)
    max_blocks = block_table.shape[1]
    if out.numel() == 0 or num_blocks == 0 or max_blocks == 0:
        out.zero_()
        lse.fill_(-math.inf)
        return _result(out, lse, q.dim(), return_lse)
    tile = tile or paged_tile(
        capability(q.device),
        heads // kv_heads * q_tokens,
        max(head_dim, head_dim_v),
        k_cache.element_size(),
    )
    constexprs = paged_constexprs(
        q.dtype,
        k_cache.dtype,
        tile,
        q_tokens=q_tokens,
        group=heads // kv_heads,
        head_dim=head_dim,
        head_dim_v=head_dim_v,
        block_size=block_size,
        has_window=left >= 0,
        k_scale=scale_mode(k_factor),
        v_scale=scale_mode(v_factor),
    )
    programs = kv_heads * constexprs["ROW_BLOCKS"]
    if num_splits is None:
        reach = max_blocks * block_size
        reach = reach if left < 0 else min(reach, left + q_tokens + tile.block_n)
        num_splits = split_count(batch * programs, reach, tile, sm_count(q.device))
    constexprs["OVERLAP_LAUNCH"] = num_splits > 1 and overlaps_launch(q.device)
    rows = batch * q_tokens * heads
    partial_out, partial_lse = out, lse
    if num_splits > 1:
        partial_out = torch.empty((rows, num_splits, head_dim_v), device=q.device)
        partial_lse = torch.empty((rows, num_splits), device=q.device)
    scale = 1 / math.sqrt(head_dim) if softmax_scale is None else softmax_scale
    paged_decode_kernel[(programs, num_splits, batch)](
        query,
        keys,
        values,
        block_table,
        cache_seqlens,
        k_factor if isinstance(k_factor, torch.Tensor) else lse,
        v_factor if isinstance(v_factor, torch.Tensor) else lse,
        partial_out,
        partial_lse,
        scale * LOG2E * (k_factor if isinstance(k_factor, float) else 1.0),
        v_factor if isinstance(v_factor, float) else 1.0,
        left,
        num_splits,
        max_blocks,
        num_blocks,
        kv_heads,
        *query.stride()[:3],
        *keys.stride()[:3],
        *values.stride()[:3],
        block_table.stride(0),
        **constexprs,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    if num_splits > 1:
        combine_splits(partial_out, partial_lse, out.view(rows, head_dim_v), lse.view(rows))
    return _result(out, lse, q.dim(), return_lse)


def _result(
    out: torch.Tensor, lse: torch.Tensor, q_dims: int, return_lse: bool
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    if not return_lse:
        return out
    return out, lse[:, 0] if q_dims == 3 else lse.transpose(1, 2)
