"""What a paged cache call must satisfy, checked before launch without waiting for the GPU.

Shapes, dtypes, strides and devices are always checked. Lengths and page numbers live on the GPU:
they are checked when they are CPU tensors (the interpreter) or when the caller asks with
`check=True`, which waits for the GPU and cannot be used while a CUDA graph is captured. Unchecked,
the kernels clamp them, so a bad one gives wrong numbers but never reads outside the cache.
"""

from collections.abc import Hashable
from typing import TypeVar

import torch

from kernels.checks import check_dtype, check_shape

Plan = TypeVar("Plan")
MAX_PLANS = 1024
QUANTISED = (torch.float8_e4m3fn, torch.int8)
MIN_BLOCK_SIZE, MAX_BLOCK_SIZE = 16, 256


def check_block_size(block_size: int) -> None:
    if block_size % 16 or not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE:
        raise ValueError(
            f"block_size is {block_size}; it must be a multiple of 16 from 16 to {MAX_BLOCK_SIZE}"
        )


def check_cache_dtype(name: str, cache: torch.Tensor, q: torch.Tensor) -> None:
    """A cache holds q's dtype, or fp8 e4m3 or int8 with a scale."""
    check_dtype(name, cache, (q.dtype, *QUANTISED))


def check_grid(**sizes: int) -> None:
    """Each of them is the second or third dimension of a grid."""
    for name, size in sizes.items():
        if size > 65_535:
            raise ValueError(f"{name} is {size:,}; one call takes at most 65,535")


def check_table(block_table: torch.Tensor, cache_seqlens: torch.Tensor, batch: int) -> None:
    check_shape("block_table", block_table, batch=batch, max_blocks=None)
    check_shape("cache_seqlens", cache_seqlens, batch=batch)
    check_dtype("block_table", block_table, (torch.int32,))
    check_dtype("cache_seqlens", cache_seqlens, (torch.int32,))


def check_table_contents(
    block_table: torch.Tensor, cache_seqlens: torch.Tensor, num_blocks: int, block_size: int
) -> None:
    """Every length fits its row of the table, and every page in use exists. Waits for the GPU."""
    capacity = block_table.shape[1] * block_size
    lengths = cache_seqlens.cpu()
    for row, length in enumerate(lengths.tolist()):
        if not 0 <= length <= capacity:
            raise ValueError(
                f"cache_seqlens[{row}] is {length}, but a row of block_table holds 0 to {capacity} "
                f"tokens ({block_table.shape[1]} blocks of {block_size})"
            )
    pages = block_table.cpu()
    used = torch.arange(pages.shape[1])[None, :] * block_size < lengths[:, None]
    bad = (used & ((pages < 0) | (pages >= num_blocks))).nonzero()
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"block_table[{row}, {column}] is {int(pages[row, column])}, but the cache has blocks "
            f"0 to {num_blocks - 1} and this one is within cache_seqlens"
        )


def describe(tensor: float | torch.Tensor | None) -> Hashable:
    """All that a plan depends on: a tensor's layout, or just the type of what is no tensor."""
    if isinstance(tensor, torch.Tensor):
        return tensor.shape, tensor.stride(), tensor.dtype, tensor.device
    return type(tensor).__name__


def remember(plans: dict[Hashable, Plan], key: Hashable, plan: Plan) -> None:
    """Keep a plan for the next call with these shapes; forget all when there are too many."""
    if len(plans) >= MAX_PLANS:
        plans.clear()
    plans[key] = plan


def check_kv_scale(
    name: str, scale: float | torch.Tensor | None, cache: torch.Tensor
) -> float | torch.Tensor:
    """A number, a float32 tensor of one element, or one float32 per token and head.

    The last has the cache's shape without its last dimension, [num_blocks, block_size, kv_heads],
    and is contiguous. None means 1.
    """
    if scale is None:
        return 1.0
    if not isinstance(scale, torch.Tensor):
        return float(scale)
    check_dtype(name, scale, (torch.float32,))
    if scale.device != cache.device:
        raise ValueError(f"{name} is on {scale.device} but the cache is on {cache.device}")
    if scale.numel() != 1 and (scale.shape != cache.shape[:-1] or not scale.is_contiguous()):
        raise ValueError(
            f"{name} must be a number, one element, or contiguous {list(cache.shape[:-1])}, "
            f"but its shape is {list(scale.shape)}"
        )
    return scale
