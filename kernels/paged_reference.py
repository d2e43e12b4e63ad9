"""Paged attention in plain PyTorch at float64, one sequence at a time."""

import torch

from kernels.reference import attention_reference


def gather_pages(
    cache: torch.Tensor, table_row: torch.Tensor, seqlen: int, scale: float | torch.Tensor = 1.0
) -> torch.Tensor:
    """The first `seqlen` tokens of one sequence in order, dequantised to float64.

    cache [num_blocks, block_size, ...]; scale a number, one element, or [num_blocks, block_size,
    kv_heads]. Returns [seqlen, ...].
    """
    block_size = cache.shape[1]
    token = torch.arange(seqlen, device=cache.device)
    page, slot = table_row[token // block_size].long(), token % block_size
    values = cache[page, slot].double()
    if isinstance(scale, torch.Tensor) and scale.numel() > 1:
        return values * scale[page, slot][..., None]
    return values * scale


def paged_decode_reference(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    cache_seqlens: torch.Tensor,
    *,
    softmax_scale: float | None = None,
    window_size: tuple[int, int] = (-1, -1),
    k_scale: float | torch.Tensor = 1.0,
    v_scale: float | torch.Tensor = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Same arguments and shapes as `paged_decode_attention`; returns float64 (out, lse)."""
    query = q.unsqueeze(1) if q.dim() == 3 else q
    outs, lses = [], []
    for seq, seqlen in enumerate(cache_seqlens.tolist()):
        out, lse = attention_reference(
            query[seq, None],
            gather_pages(k_cache, block_table[seq], seqlen, k_scale)[None],
            gather_pages(v_cache, block_table[seq], seqlen, v_scale)[None],
            softmax_scale=softmax_scale,
            window_size=window_size,
        )
        outs.append(out)
        lses.append(lse)
    out, lse = torch.cat(outs), torch.cat(lses)
    return (out[:, 0], lse[..., 0]) if q.dim() == 3 else (out, lse)


def mla_decode_reference(
    q_nope_absorbed: torch.Tensor,
    q_rope: torch.Tensor,
    latent_cache: torch.Tensor,
    block_table: torch.Tensor,
    cache_seqlens: torch.Tensor,
    *,
    softmax_scale: float,
    latent_scale: float | torch.Tensor = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Same arguments and shapes as `mla_decode_attention`; returns float64 (out, lse)."""
    rank = q_nope_absorbed.shape[-1]
    cache = latent_cache[:, :, None]  # one KV head, whose value is the key's first `rank` entries
    return paged_decode_reference(
        torch.cat([q_nope_absorbed, q_rope], dim=-1),
        cache,
        cache[..., :rank],
        block_table,
        cache_seqlens,
        softmax_scale=softmax_scale,
        k_scale=latent_scale,
        v_scale=latent_scale,
    )
