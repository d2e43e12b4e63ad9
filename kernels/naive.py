"""Naive attention: every score is written to memory and read back, twice.

The baseline that flash attention is measured against. Peak extra memory is two score matrices,
2 * batch * heads * seqlen_q * seqlen_k elements of the input's dtype.
"""

import math

import torch

from kernels.checks import FLOATS, check_dtype, check_heads, check_window
from kernels.reference import attention_mask


def naive_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    causal: bool = True,
    softmax_scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
) -> torch.Tensor:
    """Attention by three passes over a materialised score matrix, in the input's dtype.

    Shapes as in `flash_attention`: q [batch, seqlen_q, heads, head_dim], k and v
    [batch, seqlen_k, kv_heads, head_dim(_v)]; returns [batch, seqlen_q, heads, head_dim_v].
    Runs on any device.
    """
    check_dtype("q", q, FLOATS)
    check_heads(q.shape[2], k.shape[2])
    group = q.shape[2] // k.shape[2]
    scale = 1 / math.sqrt(q.shape[-1]) if softmax_scale is None else softmax_scale
    keys = k.transpose(1, 2).repeat_interleave(group, dim=1)  # [batch, heads, seqlen_k, head_dim]
    values = v.transpose(1, 2).repeat_interleave(group, dim=1)
    scores = (q.transpose(1, 2) * scale) @ keys.transpose(-1, -2)
    allowed = attention_mask(
        q.shape[1],
        k.shape[1],
        causal=causal,
        window_size=check_window(window_size),
        device=q.device,
    )
    scores.masked_fill_(~allowed, -math.inf)
    weights = torch.softmax(scores, dim=-1).nan_to_num_(nan=0.0)  # rows with no key
    return (weights @ values).transpose(1, 2)
