"""Attention in plain PyTorch at float64: what every kernel is checked against.

Written for clarity: it materialises every score. Rows with nothing to attend to give 0 and an lse
of -inf, as FlashAttention does.
"""

import math

import torch


def attention_mask(
    seqlen_q: int,
    seqlen_k: int,
    *,
    causal: bool = True,
    window_size: tuple[int, int] = (-1, -1),
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Which keys each query may see, bool [seqlen_q, seqlen_k], aligned bottom right.

    Query i stands at position i + seqlen_k - seqlen_q and sees `left` keys before it and `right`
    after it (-1: all); causal means right = 0.
    """
    left, right = window_size
    if causal:
        right = 0
    position = torch.arange(seqlen_q, device=device)[:, None] + seqlen_k - seqlen_q
    key = torch.arange(seqlen_k, device=device)[None, :]
    allowed = torch.ones(seqlen_q, seqlen_k, dtype=torch.bool, device=device)
    if left >= 0:
        allowed &= key >= position - left
    if right >= 0:
        allowed &= key <= position + right
    return allowed


def attention_reference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = True,
    softmax_scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    q_scale: float | torch.Tensor = 1.0,
    k_scale: float | torch.Tensor = 1.0,
    v_scale: float | torch.Tensor = 1.0,
    dtype: torch.dtype = torch.float64,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention computed in `dtype`.

    q [batch, seqlen_q, heads, head_dim]; k [batch, seqlen_k, kv_heads, head_dim];
    v [batch, seqlen_k, kv_heads, head_dim_v]. Returns out [batch, seqlen_q, heads, head_dim_v]
    and lse [batch, heads, seqlen_q], both in `dtype`.
    """
    heads, kv_heads = q.shape[2], k.shape[2]
    scale = 1 / math.sqrt(q.shape[-1]) if softmax_scale is None else softmax_scale
    q = q.to(dtype) * q_scale
    k = (k.to(dtype) * k_scale).repeat_interleave(heads // kv_heads, dim=2)
    v = (v.to(dtype) * v_scale).repeat_interleave(heads // kv_heads, dim=2)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) * scale
    allowed = attention_mask(
        q.shape[1], k.shape[1], causal=causal, window_size=window_size, device=q.device
    )
    scores = scores.masked_fill(~allowed, -math.inf)
    lse = torch.logsumexp(scores, dim=-1)
    weights = torch.exp(scores - lse.nan_to_num(neginf=0.0)[..., None])
    return torch.einsum("bhqk,bkhd->bqhd", weights, v), lse


def varlen_attention_reference(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    *,
    causal: bool = True,
    softmax_scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    dtype: torch.dtype = torch.float64,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences packed end to end, one at a time through `attention_reference`.

    q [total_q, heads, head_dim]; k, v [total_k, kv_heads, head_dim(_v)]; cu_seqlens int32
    [batch + 1]. Returns out [total_q, heads, head_dim_v] and lse [heads, total_q].
    """
    ends_q, ends_k = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    outs, lses = [], []
    for begin_q, end_q, begin_k, end_k in zip(
        ends_q[:-1], ends_q[1:], ends_k[:-1], ends_k[1:], strict=True
    ):
        out, lse = attention_reference(
            q[None, begin_q:end_q],
            k[None, begin_k:end_k],
            v[None, begin_k:end_k],
            causal=causal,
            softmax_scale=softmax_scale,
            window_size=window_size,
            dtype=dtype,
        )
        outs.append(out[0])
        lses.append(lse[0])
    return torch.cat(outs), torch.cat(lses, dim=1)
