"""Flash attention, forward: scores live in registers, one tile of keys at a time.

`flash_attention` takes dense batches, `flash_attention_varlen` packed sequences. Both run
`kernels.flash_kernel`, or `kernels.hopper.flash` on a card and inputs that it takes. The reference
is `kernels.reference`.
"""

import math
from collections.abc import Hashable
from typing import NamedTuple

import torch

from kernels import checks, flash_kernel
from kernels.hopper import flash as hopper_flash


def flash_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = True,
    softmax_scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    return_lse: bool = False,
    q_scale: float | torch.Tensor | None = None,
    k_scale: float | torch.Tensor | None = None,
    v_scale: float | torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """softmax(q k^T * softmax_scale) v for dense batches.

    q [batch, seqlen_q, heads, head_dim]; k [batch, seqlen_k, kv_heads, head_dim];
    v [batch, seqlen_k, kv_heads, head_dim_v], any strides but the last. fp16, bf16, fp32, or fp8
    e4m3 with one dequantisation factor per tensor (`q_scale`, `k_scale`, `v_scale`). The causal
    mask and the window (left, right) are aligned bottom right: query i stands at position
    i + seqlen_k - seqlen_q. `softmax_scale` defaults to head_dim ** -0.5.

    Returns out [batch, seqlen_q, heads, head_dim_v] in q's dtype (fp8: bf16 unless `out_dtype`
    says otherwise) and, with `return_lse`, the natural log-sum-exp [batch, heads, seqlen_q] in
    fp32. A row with no key to attend to gives 0 and -inf. Raises ValueError or TypeError before
    launch.
    """
    key = (
        causal,
        *checks.check_window(window_size),
        return_lse,
        out_dtype,
        *map(_layout, (q, k, v)),
    )
    call = _calls.get(key) or _remember(key, _check_dense(q, k, v, causal, window_size, out_dtype))
    scale = _softmax_scale(softmax_scale, q.shape[3])
    factors = (q_scale, k_scale, v_scale)
    _check_factors(q, factors)
    out = torch.empty(call.shape, dtype=call.dtype, device=q.device)
    lse = None
    if return_lse:
        batch, seqlen_q, heads, _ = call.shape
        lse = torch.empty(batch, heads, seqlen_q, dtype=torch.float32, device=q.device)
    if call.plan:
        call.plan.run(q, k, v, out, lse, scale, factors)
    elif out.numel():
        flash_kernel.launch(q, k, v, out, lse, scale, call.window, factors)
    return out if lse is None else (out, lse)


def flash_attention_varlen(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    *,
    causal: bool = True,
    softmax_scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    return_lse: bool = False,
    q_scale: float | torch.Tensor | None = None,
    k_scale: float | torch.Tensor | None = None,
    v_scale: float | torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """`flash_attention` for sequences packed end to end, some possibly empty.

    q [total_q, heads, head_dim]; k, v [total_k, kv_heads, head_dim(_v)]; cu_seqlens_q and
    cu_seqlens_k int32 [batch + 1], cumulative lengths from 0; max_seqlen_q must be at least the
    longest query sequence. Returns out [total_q, heads, head_dim_v] and, with `return_lse`, lse
    [heads, total_q] in fp32.
    """
    key = (
        causal, *checks.check_window(window_size), return_lse, out_dtype, max_seqlen_q,
        max_seqlen_k, *map(_layout, (q, k, v, cu_seqlens_q, cu_seqlens_k)),
    )  # fmt: skip
    call = _calls.get(key) or _remember(
        key,
        _check_packed(
            q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, causal, window_size,
            out_dtype,
        ),
    )  # fmt: skip
    scale = _softmax_scale(softmax_scale, q.shape[2])
    factors = (q_scale, k_scale, v_scale)
    _check_factors(q, factors)
    cu_seqlens = cu_seqlens_q.contiguous(), cu_seqlens_k.contiguous()
    out = torch.empty(call.shape, dtype=call.dtype, device=q.device)
    lse = None
    if return_lse:
        total_q, heads, _ = call.shape
        lse = torch.empty(heads, total_q, dtype=torch.float32, device=q.device)
    if call.plan:
        call.plan.run(q, k, v, out, lse, scale, factors, cu_seqlens)
    elif out.numel() and max_seqlen_q:
        flash_kernel.launch(
            q[None], k[None], v[None], out[None], None if lse is None else lse[None], scale,
            call.window, factors, cu_seqlens=cu_seqlens, max_seqlens=(max_seqlen_q, max_seqlen_k),
        )  # fmt: skip
    return out if lse is None else (out, lse)


class _Call(NamedTuple):
    """What one layout of the arguments comes to, checked once."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    window: tuple[int, int]
    plan: hopper_flash.Plan | None


_calls: dict[tuple[Hashable, ...], _Call] = {}


def _remember(key: tuple[Hashable, ...], call: _Call) -> _Call:
    """Keep `call` for later calls of the same layout, and of all layouts the last 512."""
    if len(_calls) >= 512:
        _calls.pop(next(iter(_calls)), None)
    _calls[key] = call
    return call


def _layout(tensor: torch.Tensor) -> tuple[Hashable, ...]:
    """Everything about a tensor that the checks and the plan of a launch look at."""
    aligned = tensor.data_ptr() % 16 == 0
    return tensor.shape, tensor.stride(), tensor.dtype, tensor.device, aligned


def _check_dense(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    causal: bool,
    window_size: tuple[int, int],
    out_dtype: torch.dtype | None,
) -> _Call:
    checks.check_shape("q", q, batch=None, seqlen_q=None, heads=None, head_dim=None)
    batch, seqlen_q, heads, head_dim = q.shape
    checks.check_shape("k", k, batch=batch, seqlen_k=None, kv_heads=None, head_dim=head_dim)
    _, seqlen_k, kv_heads, _ = k.shape
    checks.check_shape("v", v, batch=batch, seqlen_k=seqlen_k, kv_heads=kv_heads, head_dim_v=None)
    dtype = _check_inputs(q, k, v, out_dtype)
    window = _window(causal, window_size)
    plan = None
    if q.numel() and hopper_flash.supports(q, k, v, dtype):
        plan = hopper_flash.Plan(q, k, v, dtype, window)
    return _Call((batch, seqlen_q, heads, v.shape[3]), dtype, window, plan)


def _check_packed(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    causal: bool,
    window_size: tuple[int, int],
    out_dtype: torch.dtype | None,
) -> _Call:
    checks.check_shape("q", q, total_q=None, heads=None, head_dim=None)
    total_q, heads, head_dim = q.shape
    checks.check_shape("k", k, total_k=None, kv_heads=None, head_dim=head_dim)
    total_k, kv_heads, _ = k.shape
    checks.check_shape("v", v, total_k=total_k, kv_heads=kv_heads, head_dim_v=None)
    checks.check_shape("cu_seqlens_q", cu_seqlens_q, batch_plus_1=None)
    checks.check_shape("cu_seqlens_k", cu_seqlens_k, batch_plus_1=cu_seqlens_q.shape[0])
    for name, lengths in (("cu_seqlens_q", cu_seqlens_q), ("cu_seqlens_k", cu_seqlens_k)):
        checks.check_dtype(name, lengths, (torch.int32,))
    checks.check_device(q=q, cu_seqlens_q=cu_seqlens_q, cu_seqlens_k=cu_seqlens_k)
    if max_seqlen_q < 0 or max_seqlen_k < 0:
        raise ValueError("max_seqlen_q and max_seqlen_k must not be negative")
    dtype = _check_inputs(q, k, v, out_dtype)
    window = _window(causal, window_size)
    sequences = cu_seqlens_q.shape[0] - 1
    plan = None
    if (
        q.numel()
        and max_seqlen_q
        and sequences > 0
        and hopper_flash.supports(q[None], k[None], v[None], dtype)
    ):
        plan = hopper_flash.Plan(q[None], k[None], v[None], dtype, window, sequences=sequences)
    return _Call((total_q, heads, v.shape[2]), dtype, window, plan)


def _window(causal: bool, window_size: tuple[int, int]) -> tuple[int, int]:
    left, right = checks.check_window(window_size)
    return left, 0 if causal else right


def _softmax_scale(softmax_scale: float | None, head_dim: int) -> float:
    scale = 1 / math.sqrt(head_dim) if softmax_scale is None else float(softmax_scale)
    if not (scale > 0 and math.isfinite(scale)):
        raise ValueError(f"softmax_scale must be positive and finite, not {softmax_scale}")
    return scale


def _check_inputs(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out_dtype: torch.dtype | None
) -> torch.dtype:
    """Dtypes, devices and heads; returns the output's dtype."""
    checks.check_dtype("q", q, checks.FLOATS + checks.FP8)
    checks.check_dtype("k", k, (q.dtype,))
    checks.check_dtype("v", v, (q.dtype,))
    checks.check_device(q=q, k=k, v=v)
    checks.check_fp8_device("q", q)
    checks.check_heads(q.shape[-2], k.shape[-2])
    checks.check_head_dim("q", q.shape[-1])
    checks.check_head_dim("v", v.shape[-1])
    checks.check_rows_contiguous(q=q, k=k, v=v)
    dtype = out_dtype or (torch.bfloat16 if q.dtype in checks.FP8 else q.dtype)
    if dtype not in checks.FLOATS:
        raise TypeError(f"out_dtype is {dtype}; supported here: float16, bfloat16, float32")
    return dtype


def _check_factors(q: torch.Tensor, factors: tuple[float | torch.Tensor | None, ...]) -> None:
    for name, factor in zip(("q_scale", "k_scale", "v_scale"), factors, strict=True):
        if factor is not None:
            checks.check_scale(name, factor, q.device)
            if q.dtype not in checks.FP8:
                raise ValueError(f"{name} is for fp8 inputs, and these are {q.dtype}")
