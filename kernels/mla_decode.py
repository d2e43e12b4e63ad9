"""Decode attention of MLA models in absorbed form, over a paged cache of latents.

    out = mla_decode_attention(q_nope_absorbed, q_rope, latent_cache, block_table, cache_seqlens,
                               softmax_scale=192**-0.5)

The up-projections of keys and values are folded into the query and the output (DeepSeek-V2,
arXiv 2405.04434, section 2.1), so all heads share one key of rank + rope entries per token and one
value, the first `rank` of them: each cached byte is read once and used twice.

On Hopper, 16-bit queries of rank 512 and rope 64 over a cache of their own dtype or of 8 bits (fp16
from 17 query rows) go to `kernels.hopper.mla`; everything else, and any call that names a tile, to
the portable kernel.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import torch

from kernels.checks import (
    FLOATS,
    LOG2_E,
    capability,
    check_device,
    check_dtype,
    check_fp8_device,
    check_rows_contiguous,
    check_scale,
    check_shape,
)
from kernels.combine import combine_splits, overlaps_launch
from kernels.decode_checks import (
    QUANTISED,
    check_block_size,
    check_cache_dtype,
    check_grid,
    check_table,
    check_table_contents,
    describe,
    remember,
)
from kernels.decode_tiles import DecodeTile, mla_tile, sm_count, split_count
from kernels.hopper import mla as hopper_mla
from kernels.launcher import Launcher
from kernels.mla_decode_kernel import mla_decode_kernel
from kernels.packed_bytes import as_words, compute_dtype, packing


def mla_constexprs(
    q: torch.dtype,
    cache: torch.dtype,
    tile: DecodeTile,
    *,
    q_tokens: int,
    heads: int,
    rank: int,
    rope: int,
    block_size: int,
    has_scale: bool = False,
    overlap_launch: bool = False,
) -> dict[str, Any]:
    """The kernel's compile-time arguments, for a launch or an ahead-of-time compile."""
    compute = compute_dtype(q, cache)
    entries = 2 if cache in QUANTISED else 1
    return {
        "Q_TOKENS": q_tokens,
        "HEADS": heads,
        "RANK": rank // entries,
        "ROPE": rope // entries,
        "BLOCK_SIZE": block_size,
        "BLOCK_M": tile.block_m,
        "BLOCK_N": tile.block_n,
        "COMPUTE": compute,
        "PACKED": packing(cache, compute),
        "HAS_SCALE": has_scale,
        "OVERLAP_LAUNCH": overlap_launch,
    }


@dataclass(frozen=True)
class _Plan:
    """Everything about a call that follows from shapes: checked and worked out once."""

    rows: tuple[int, int, int]  # batch, q_tokens, heads
    num_splits: int
    hopper: hopper_mla.Plan | None  # None: the portable kernel
    sizes: tuple[int, ...]  # the portable kernel's integers after num_splits
    launch: Launcher | None


_PLANS: dict[Hashable, _Plan] = {}


def _plan(
    q_nope_absorbed: torch.Tensor,
    q_rope: torch.Tensor,
    latent_cache: torch.Tensor,
    block_table: torch.Tensor,
    cache_seqlens: torch.Tensor,
    latent_scale: float | torch.Tensor | None,
    num_splits: int | None,
    tile: DecodeTile | None,
) -> _Plan:
    if q_nope_absorbed.dim() not in (3, 4):
        raise ValueError(
            "q_nope_absorbed must be [batch, heads, rank] or [batch, q_tokens, heads, rank], "
            f"but its shape is {list(q_nope_absorbed.shape)}"
        )
    single = q_nope_absorbed.dim() == 3
    nope = q_nope_absorbed.unsqueeze(1) if single else q_nope_absorbed
    turned = q_rope.unsqueeze(1) if single else q_rope
    batch, q_tokens, heads, rank = nope.shape
    check_shape("q_rope", turned, batch=batch, q_tokens=q_tokens, heads=heads, rope=None)
    rope = turned.shape[-1]
    for name, size in (("rank", rank), ("rope", rope)):
        smallest = 32 if latent_cache.dtype in QUANTISED else 16  # two entries to a word
        if size < smallest or size & (size - 1):
            raise ValueError(f"{name} is {size}; it must be a power of two from {smallest}")
    check_shape("latent_cache", latent_cache, num_blocks=None, block_size=None, width=rank + rope)
    block_size = latent_cache.shape[1]
    check_block_size(block_size)
    check_dtype("q_nope_absorbed", q_nope_absorbed, FLOATS)
    check_dtype("q_rope", q_rope, (q_nope_absorbed.dtype,))
    check_cache_dtype("latent_cache", latent_cache, q_nope_absorbed)
    check_table(block_table, cache_seqlens, batch)
    check_device(
        q_nope_absorbed=q_nope_absorbed,
        q_rope=q_rope,
        latent_cache=latent_cache,
        block_table=block_table,
        cache_seqlens=cache_seqlens,
    )
    check_fp8_device("latent_cache", latent_cache)
    check_scale("latent_scale", latent_scale, latent_cache.device)
    check_rows_contiguous(q_nope_absorbed=nope, q_rope=turned, latent_cache=latent_cache)
    check_rows_contiguous(block_table=block_table, cache_seqlens=cache_seqlens)
    if num_splits is not None and num_splits < 1:
        raise ValueError(f"num_splits is {num_splits}; it must be at least 1, or None")

    max_blocks = block_table.shape[1]
    hopper = tile is None and hopper_mla.supports(nope, turned, latent_cache)
    if hopper:
        tile = hopper_mla.tile(q_tokens * heads, nope.dtype, latent_cache.dtype)
    if tile is None:
        tile = mla_tile(capability(nope.device), q_tokens * heads, latent_cache.element_size())
    row_blocks = -(-q_tokens * heads // tile.block_m)
    shares = None
    if hopper and num_splits is None:
        shares = hopper_mla.shares(batch, row_blocks, max_blocks, block_size, sm_count(nope.device))
    if shares:
        num_splits = 1
    elif num_splits is None:
        # A program that has its multiprocessor to itself is bound by what it computes.
        alone = 1.0 if tile.programs_per_sm == 1 else None
        sms, reach = sm_count(nope.device), max_blocks * block_size
        num_splits = split_count(batch * row_blocks, reach, tile, sms, alone)
    check_grid(batch=batch, num_splits=num_splits)
    overlap_launch = (num_splits > 1 or bool(shares)) and overlaps_launch(nope.device)
    grid = (row_blocks, shares, 1) if shares else (row_blocks, num_splits, batch)
    strides = (*nope.stride()[:3], *turned.stride()[:3])
    plan = _Plan((batch, q_tokens, heads), num_splits, None, (), None)
    if hopper:
        constants = hopper_mla.constexprs(
            nope.dtype,
            latent_cache.dtype,
            batch if shares else None,
            q_tokens,
            heads,
            block_size,
            overlap_launch,
        )
        path = hopper_mla.Plan(nope.dtype, latent_cache, block_table, strides, grid, constants)
        return replace(plan, hopper=path)
    constants = mla_constexprs(
        nope.dtype,
        latent_cache.dtype,
        tile,
        q_tokens=q_tokens,
        heads=heads,
        rank=rank,
        rope=rope,
        block_size=block_size,
        has_scale=isinstance(latent_scale, torch.Tensor),
        overlap_launch=overlap_launch,
    )
    words = as_words("latent_cache", latent_cache).stride()[:2]
    sizes = (max_blocks, latent_cache.shape[0], *strides, *words, block_table.stride(0))
    launch = Launcher(
        mla_decode_kernel,
        grid,
        constants,
        (nope.device, nope.dtype, latent_cache.dtype, num_splits > 1, sizes),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    return replace(plan, sizes=sizes, launch=launch)


def mla_decode_attention(
    q_nope_absorbed: torch.Tensor,
    q_rope: torch.Tensor,
    latent_cache: torch.Tensor,
    block_table: torch.Tensor,
    cache_seqlens: torch.Tensor,
    *,
    softmax_scale: float,
    num_splits: int | None = None,
    latent_scale: float | torch.Tensor | None = None,
    return_lse: bool = False,
    check: bool = False,
    tile: DecodeTile | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Attention of the newest tokens of each sequence over its latents.

    q_nope_absorbed: [batch, heads, rank], the query times the key up-projection, or
    [batch, q_tokens, heads, rank] for several new tokens a sequence, causal among themselves.
    q_rope: the same shape with rope entries, rotated. fp16, bf16 or fp32; rank and rope are powers
    of two from 16 (512 and 64 in DeepSeek's models).
    latent_cache: [num_blocks, block_size, rank + rope], in q's dtype, fp8 e4m3 or int8; each row
    the normalised latent, then the rotated key.
    block_table, cache_seqlens, check: as in `paged_decode_attention`.
    num_splits: of every sequence; None chooses from shapes, or on Hopper, of 2 to 256 sequences,
    shares all tiles out equally, whatever the lengths.
    softmax_scale: required, because it follows from the head size before absorption.
    latent_scale: dequantisation factor of the cache, positive: a number or a tensor of one float32.
    On Hopper, scores of bf16 queries of up to 32 rows over fp8 latents are sums of fp8 products,
    which the tensor cores add up with few bits, 128 entries at a time: measured on an H200 against
    float64, with scores of standard deviation 1.7, the log-sum-exp is within 8e-4
    (benchmarks/NOTES.md).
    Returns out [.., heads, rank], still to be multiplied by the value up-projection, in q's dtype;
    with return_lse also fp32 [batch, heads] or [batch, heads, q_tokens].
    Raises ValueError or TypeError, in one sentence, before anything is launched.
    """
    tensors = (q_nope_absorbed, q_rope, latent_cache, block_table, cache_seqlens, latent_scale)
    aligned = all(tensor.data_ptr() % 16 == 0 for tensor in tensors[:3])
    key = (*map(describe, tensors), num_splits, tile, aligned)
    plan = _PLANS.get(key)
    if plan is None:
        plan = _plan(*tensors, num_splits, tile)
        remember(_PLANS, key, plan)
    scale = latent_scale if isinstance(latent_scale, torch.Tensor) else None
    factor = 1.0 if latent_scale is None or scale is not None else float(latent_scale)
    if not 0 < softmax_scale * factor < math.inf:
        raise ValueError(
            f"softmax_scale times latent_scale is {softmax_scale * factor}; "
            "it must be positive and finite"
        )
    device, splits = latent_cache.device, plan.num_splits
    if check or device.type != "cuda":
        check_table_contents(block_table, cache_seqlens, *latent_cache.shape[:2])

    out = torch.empty(q_nope_absorbed.shape, dtype=q_nope_absorbed.dtype, device=device)
    lse = torch.empty(plan.rows, device=device)
    if out.numel() == 0 or latent_cache.shape[0] == 0 or block_table.shape[1] == 0:
        out.zero_()
        lse.fill_(-torch.inf)
    else:
        partial_out, partial_lse = out, lse
        if splits > 1:
            partial_out = torch.empty((lse.numel(), splits, out.shape[-1]), device=device)
            partial_lse = torch.empty((lse.numel(), splits), device=device)
        score_scale = softmax_scale * LOG2_E * factor
        if plan.hopper:
            plan.hopper.run(
                q_nope_absorbed, q_rope, latent_cache, block_table, cache_seqlens, scale,
                partial_out, partial_lse, score_scale, factor,
            )  # fmt: skip
        elif plan.launch:
            pointers = (
                q_nope_absorbed,
                q_rope,
                as_words("latent_cache", latent_cache),
                block_table,
                cache_seqlens,
                lse if scale is None else scale,
                partial_out,
                partial_lse,
            )
            plan.launch((*pointers, score_scale, factor, splits, *plan.sizes), pointers)
        if splits > 1:
            combine_splits(partial_out, partial_lse, out, lse)
    if not return_lse:
        return out
    return out, lse[:, 0] if out.dim() == 3 else lse.transpose(1, 2)
