"""Decode attention over a paged KV cache, split over the sequence so that one user fills the card.

    out = paged_decode_attention(q, k_cache, v_cache, block_table, cache_seqlens)

On Hopper, batches that `kernels.hopper.paged` takes are shared out evenly by their lengths. Of all
others each program takes one split of one sequence, and `combine_splits` joins their partial
results; a sequence that is not split is written as it will be. So many sequences are left whole as
fill the card in full rounds, and only the rest is split.
"""

import math
from collections.abc import Hashable

import torch

from kernels.checks import LOG2_E, check_window
from kernels.combine import combine_splits
from kernels.decode_checks import check_table_contents, describe, remember
from kernels.decode_tiles import DecodeTile
from kernels.packed_bytes import as_words
from kernels.paged_plan import Plan, make_plan

_PLANS: dict[Hashable, Plan] = {}


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
    num_splits: of every sequence; None shares the work out as described above, without a wait for
    the GPU.
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
        (q.data_ptr() | k_cache.data_ptr() | v_cache.data_ptr()) % 16 == 0,
    )
    plan = _PLANS.get(key)
    if plan is None:
        plan = make_plan(
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
    score_scale = plan.scale if softmax_scale is None else softmax_scale * LOG2_E
    k_factor, v_factor = (
        1.0 if scale is None or isinstance(scale, torch.Tensor) else float(scale)
        for scale in (k_scale, v_scale)
    )
    if plan.hopper is not None:
        query = q.unsqueeze(1) if q.dim() == 3 else q
        plan.hopper.run(
            query, k_cache, v_cache, block_table, cache_seqlens, out, lse,
            k_factor * score_scale, v_factor,
            *(scale if isinstance(scale, torch.Tensor) else None for scale in (k_scale, v_scale)),
        )  # fmt: skip
        return _result(out, lse, q.dim(), return_lse)
    partial_out = partial_lse = lse
    if whole < plan.batch:
        rows = lse[whole:].numel()
        partial_out = torch.empty((rows, splits, out.shape[-1]), device=device)
        partial_lse = torch.empty((rows, splits), device=device)
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
