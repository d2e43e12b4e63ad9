"""Decode attention over a paged KV cache, split over the sequence so that one user fills the card.

    out = paged_decode_attention(q, k_cache, v_cache, block_table, cache_seqlens)

Each program takes one split of one sequence, and `combine_splits` joins their partial results; a
sequence that is not split is written as it will be. So many sequences are left whole as fill the
card in full rounds, and only the rest is split.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch

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
    describe,
    remember,
)
from kernels.decode_tiles import DecodeTile, paged_tile, sm_count, split_count, whole_sequences
from kernels.launcher import Launcher
from kernels.packed_bytes import as_words, compute_dtype, packing
from kernels.paged_decode_kernel import paged_decode_kernel
from kernels.tiles import padded_head_dim

LOG2E = 1.4426950408889634


def scale_mode(scale: float | torch.Tensor | None) -> str:
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
    same_strides: bool = True,
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
        "SAME_STRIDES": same_strides,
        "OVERLAP_LAUNCH": overlap_launch,
        "HEADS": tile.kv_heads,
    }


@dataclass(frozen=True)
class _Plan:
    """Everything about a call that follows from shapes: checked and worked out once."""

    out_shape: tuple[int, ...]
    batch: int
    q_tokens: int
    heads: int
    whole: int  # sequences that are not split
    num_splits: int  # of each other
    sizes: tuple[int, ...]  # the kernel's integers after num_splits
    launch: Launcher
    scale: float  # softmax_scale's default, times log2(e)


_PLANS: dict[Hashable, _Plan] = {}


def _plan(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    cache_seqlens: torch.Tensor,
    k_scale: float | torch.Tensor | None,
    v_scale: float | torch.Tensor | None,
    left: int,
    num_splits: int | None,
    tile: DecodeTile | None,
) -> _Plan:
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
    check_rows_contiguous(q=q, k_cache=k_cache, v_cache=v_cache)
    check_rows_contiguous(block_table=block_table, cache_seqlens=cache_seqlens)
    check_kv_scale("k_scale", k_scale, k_cache)
    check_kv_scale("v_scale", v_scale, v_cache)
    if num_splits is not None and num_splits < 1:
        raise ValueError(f"num_splits is {num_splits}; it must be at least 1, or None")

    keys, values = as_words("k_cache", k_cache), as_words("v_cache", v_cache)
    max_blocks = block_table.shape[1]
    group = heads // kv_heads
    sms = sm_count(q.device)
    tile = tile or paged_tile(
        capability(q.device),
        group * q_tokens,
        max(head_dim, head_dim_v),
        k_cache.element_size(),
        kv_heads,
        batch * kv_heads / sms,
    )
    if kv_heads % tile.kv_heads:
        raise ValueError(
            f"tile takes {tile.kv_heads} KV heads at once, not a divisor of {kv_heads}"
        )
    row_blocks = -(-group * q_tokens // tile.block_m)
    programs = kv_heads // tile.kv_heads * row_blocks
    whole = 0
    if num_splits is None:
        reach = max_blocks * block_size
        reach = reach if left < 0 else min(reach, left + q_tokens + tile.block_n)
        whole = whole_sequences(batch, programs, tile, sms)
        num_splits = 1
        if whole < batch:
            num_splits = split_count((batch - whole) * programs, reach, tile, sms)
    if num_splits == 1:
        whole = batch
    constants = paged_constexprs(
        q.dtype,
        k_cache.dtype,
        tile,
        q_tokens=q_tokens,
        group=group,
        head_dim=head_dim,
        head_dim_v=head_dim_v,
        block_size=block_size,
        has_window=left >= 0,
        k_scale=scale_mode(k_scale),
        v_scale=scale_mode(v_scale),
        same_strides=keys.stride()[:2] == values.stride()[:2],
        overlap_launch=overlaps_launch(q.device),
    )
    strides = (*query.stride()[:3], *keys.stride()[:3], *values.stride()[:3])
    sizes = (max_blocks, num_blocks, kv_heads, *strides, block_table.stride(0))
    launch = Launcher(
        paged_decode_kernel,
        (programs, whole + (batch - whole) * num_splits, 1),
        constants,
        (q.device, q.dtype, k_cache.dtype, sizes),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    return _Plan(
        out_shape=(*q.shape[:-1], head_dim_v),
        batch=batch,
        q_tokens=q_tokens,
        heads=heads,
        whole=whole,
        num_splits=num_splits,
        sizes=sizes,
        launch=launch,
        scale=LOG2E / math.sqrt(head_dim),
    )


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
    num_splits: of every sequence; None splits none, all or the last ones, so that the card is busy
    to the end, chosen from shapes (no wait for the GPU).
    k_scale, v_scale: dequantisation factors: a number, a tensor of one float32, or one float32
    per token and head, [num_blocks, block_size, kv_heads].
    check: also validate lengths and pages on the GPU, which waits for it (always done on CPU
    tensors); unchecked values out of range are clamped into the table and the cache.
    tile: overrides the table of `kernels/decode_tiles.py`; for the search that fills it.
    Returns out, q's shape with head_dim_v last, in q's dtype; with return_lse also the natural log
    of the softmax sums, fp32 [batch, heads] or [batch, heads, q_tokens].
    Raises ValueError or TypeError, in one sentence, before anything is launched.
    """
    left, _ = check_window(window_size)
    key = (
        *map(describe, (q, k_cache, v_cache, block_table, cache_seqlens, k_scale, v_scale)),
        left,
        num_splits,
        tile,
    )
    plan = _PLANS.get(key)
    if plan is None:
        plan = _plan(
            q, k_cache, v_cache, block_table, cache_seqlens, k_scale, v_scale,
            left, num_splits, tile,
        )  # fmt: skip
        remember(_PLANS, key, plan)
    if check or not q.is_cuda:
        check_table_contents(block_table, cache_seqlens, k_cache.shape[0], k_cache.shape[1])

    device, whole, splits = q.device, plan.whole, plan.num_splits
    out = torch.empty(plan.out_shape, dtype=q.dtype, device=device)
    lse = torch.empty((plan.batch, plan.q_tokens, plan.heads), device=device)
    if out.numel() == 0 or k_cache.shape[0] == 0 or block_table.shape[1] == 0:
        out.zero_()
        lse.fill_(-math.inf)
        return _result(out, lse, q.dim(), return_lse)
    partial_out = partial_lse = lse
    if whole < plan.batch:
        rows = lse[whole:].numel()
        partial_out = torch.empty((rows, splits, out.shape[-1]), device=device)
        partial_lse = torch.empty((rows, splits), device=device)
    k_factor, v_factor = (
        1.0 if scale is None or isinstance(scale, torch.Tensor) else float(scale)
        for scale in (k_scale, v_scale)
    )
    pointers = (
        q,
        as_words("k_cache", k_cache),
        as_words("v_cache", v_cache),
        block_table,
        cache_seqlens,
        k_scale if isinstance(k_scale, torch.Tensor) else lse,
        v_scale if isinstance(v_scale, torch.Tensor) else lse,
        out,
        lse,
        partial_out,
        partial_lse,
    )
    score_scale = plan.scale if softmax_scale is None else softmax_scale * LOG2E
    numbers = (k_factor * score_scale, v_factor, left, whole, splits, *plan.sizes)
    plan.launch((*pointers, *numbers), pointers)
    if whole < plan.batch:
        combine_splits(partial_out, partial_lse, out[whole:], lse[whole:])
    return _result(out, lse, q.dim(), return_lse)


def _result(
    out: torch.Tensor, lse: torch.Tensor, q_dims: int, return_lse: bool
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    if not return_lse:
        return out
    return out, lse[:, 0] if q_dims == 3 else lse.transpose(1, 2)
