"""What a paged decode call comes to: its arguments checked, its tile, splits and launch chosen.

All of it follows from shapes, so it is worked out once for each layout of the arguments.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch

from kernels.checks import (
    FLOATS,
    LOG2_E,
    capability,
    check_device,
    check_dtype,
    check_fp8_device,
    check_head_dim,
    check_heads,
    check_rows_contiguous,
    check_shape,
)
from kernels.combine import overlaps_launch
from kernels.decode_checks import (
    QUANTISED,
    check_block_size,
    check_cache_dtype,
    check_kv_scale,
    check_table,
)
from kernels.decode_tiles import DecodeTile, paged_tile, sm_count, split_count, whole_sequences
from kernels.hopper import paged as hopper_paged
from kernels.launcher import Launcher
from kernels.packed_bytes import as_words, compute_dtype, packing
from kernels.paged_decode_kernel import paged_decode_kernel
from kernels.tiles import padded_head_dim


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
class Plan:
    """Everything about a call that follows from shapes: checked and worked out once."""

    out_shape: tuple[int, ...]
    batch: int
    q_tokens: int
    heads: int
    hopper: hopper_paged.Plan | None  # it takes the call; what follows is for the portable kernel
    whole: int  # sequences that are not split
    num_splits: int  # of each other
    sizes: tuple[int, ...]  # the kernel's integers after num_splits
    launch: Launcher
    scale: float  # softmax_scale's default, times log2(e)


def make_plan(
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
) -> Plan:
    """Check the arguments of `paged_decode_attention` and choose tile, splits and launch."""
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
    hopper = None
    plain = "token_head" not in (scale_mode(k_scale), scale_mode(v_scale))
    free = plain and tile is None and num_splits is None
    if free and hopper_paged.supports(query, k_cache, v_cache, max_blocks, sms):
        hopper = hopper_paged.Plan(query, k_cache, v_cache, block_table, left, sms)
    tile = tile or paged_tile(
        capability(q.device),
        group * q_tokens,
        max(head_dim, head_dim_v),
        k_cache.element_size(),
        kv_heads,
        batch,
        sms,
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
    parts = whole + (batch - whole) * num_splits
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
        (programs * parts, 1, 1),
        constants,
        (q.device, q.dtype, k_cache.dtype, sizes),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    return Plan(
        out_shape=(*q.shape[:-1], head_dim_v),
        batch=batch,
        q_tokens=q_tokens,
        heads=heads,
        hopper=hopper,
        whole=whole,
        num_splits=num_splits,
        sizes=sizes,
        launch=launch,
        scale=LOG2_E / math.sqrt(head_dim),
    )
