"""Paged caches for the decode tests: random page order, every unused slot poisoned."""

import math
from dataclasses import dataclass

import torch

POISON = {torch.int8: 127}


@dataclass
class Paged:
    k_cache: torch.Tensor  # [num_blocks, block_size, kv_heads, head_dim]
    v_cache: torch.Tensor
    block_table: torch.Tensor  # int32 [batch, max_blocks], -1 past each length
    cache_seqlens: torch.Tensor  # int32 [batch]

    def arguments(self):
        return self.k_cache, self.v_cache, self.block_table, self.cache_seqlens


def random_values(shape, dtype, device):
    if dtype == torch.int8:
        return torch.randint(-127, 128, shape, dtype=dtype, device=device)
    return torch.randn(shape, device=device).to(dtype)


def poison(shape, dtype, device):
    value = POISON.get(dtype, math.nan)
    return torch.full(shape, value, device=device, dtype=torch.float32).to(dtype)


def paged(
    lengths,
    *,
    kv_heads=2,
    head_dim=64,
    head_dim_v=None,
    block_size=16,
    dtype=torch.float32,
    device="cpu",
    spare_blocks=2,
):
    """A cache holding sequences of these lengths, with `spare_blocks` unused table entries."""
    needed = [-(-length // block_size) for length in lengths]
    num_blocks = sum(needed) + 3
    free = torch.randperm(num_blocks).tolist()
    table = torch.full((len(lengths), max(needed) + spare_blocks), -1, dtype=torch.int32)
    k_cache = poison((num_blocks, block_size, kv_heads, head_dim), dtype, device)
    v_cache = poison((num_blocks, block_size, kv_heads, head_dim_v or head_dim), dtype, device)
    for row, length in enumerate(lengths):
        for column in range(needed[row]):
            page = free.pop()
            table[row, column] = page
            filled = min(block_size, length - column * block_size)
            for cache in (k_cache, v_cache):
                cache[page, :filled] = random_values(
                    (filled, *cache.shape[2:]), dtype, device=device
                )
    seqlens = torch.tensor(lengths, dtype=torch.int32, device=device)
    return Paged(k_cache, v_cache, table.to(device), seqlens)


def relative_error(actual, expected):
    """||actual - expected|| / ||expected||; NaN anywhere gives NaN, which no bound accepts."""
    return float((actual.double() - expected).norm() / expected.norm())
