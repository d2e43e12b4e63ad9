"""Host side of the Hopper MLA decode: what it can take, and its launch.

Needs compute capability 9.0 and a Triton whose Gluon has Hopper's warp-group MMA, TMA and mbarriers
(3.6 or newer); nothing of Gluon is imported before both are known.
"""

import math
from functools import cache
from types import ModuleType
from typing import Any

import torch

from kernels import checks
from kernels.decode_tiles import DecodeTile
from kernels.launcher import Launcher, checked_descriptor

Boxes = tuple[tuple[list[int], list[int], list[int]], ...]

RANK, ROPE = 512, 64
TILE = DecodeTile(block_m=64, block_n=64, num_warps=16, num_stages=2, programs_per_sm=1)


@cache
def _gluon_kernel() -> ModuleType | None:
    """`kernels.hopper_mla_kernel`, or None where this Triton's Gluon lacks something it uses."""
    try:
        from kernels import hopper_mla_kernel
    except (ImportError, AttributeError):
        return None
    return hopper_mla_kernel


def supports(
    q_nope: torch.Tensor, q_rope: torch.Tensor, latent_cache: torch.Tensor, latent_scale: object
) -> bool:
    """Whether `launch` takes these checked inputs; the portable kernel takes everything.

    It takes rank 512 and rope 64 in fp16 or bf16, any block size: pages pass in parts of
    gcd(block_size, 64) keys. An 8-bit cache would have to be widened in shared memory first.
    """
    return (
        latent_cache.is_cuda
        and checks.capability(latent_cache.device) == 90
        and (q_nope.shape[-1], q_rope.shape[-1]) == (RANK, ROPE)
        and latent_cache.dtype == q_nope.dtype != torch.float32
        and not isinstance(latent_scale, torch.Tensor)
        and checks.tma_aligned(latent_cache)
        and _gluon_kernel() is not None
    )


def constexprs(q_tokens: int, heads: int, block_size: int, overlap_launch: bool) -> dict[str, Any]:
    """The kernel's compile-time arguments, for a launch or an ahead-of-time compile."""
    return {
        "Q_TOKENS": q_tokens,
        "HEADS": heads,
        "BLOCK_SIZE": block_size,
        "OVERLAP_LAUNCH": overlap_launch,
    }


def boxes(latent_cache: torch.Tensor) -> Boxes:
    """Shape, strides and block of the kernel's two TMA descriptors: half the rank, and rope.

    A block is `gcd(block_size, 64)` tokens of one page.
    """
    blocks, tokens, width = latent_cache.shape
    # The stride of a dimension of one element is arbitrary; TMA wants it to be a multiple of 16.
    strides = [latent_cache.stride(0) if blocks > 1 else tokens * width, latent_cache.stride(1), 1]
    part = math.gcd(tokens, TILE.block_n)
    return tuple(
        ([blocks, tokens, width], strides, [1, part, columns]) for columns in (RANK // 2, ROPE)
    )


class Plan:
    """A launch of the Gluon kernel on inputs that `supports` accepted: all but the addresses."""

    def __init__(
        self,
        latent_cache: torch.Tensor,
        block_table: torch.Tensor,
        strides: tuple[int, ...],
        grid: tuple[int, int, int],
        num_splits: int,
        constants: dict[str, Any],
    ) -> None:
        kernel: Any = _gluon_kernel()
        self._boxes = [(*box, layout()) for box in boxes(latent_cache)]
        self._sizes = (num_splits, block_table.shape[1], *strides, block_table.stride(0))
        kind = (latent_cache.device, latent_cache.dtype, num_splits > 1, self._sizes)
        self._launch = Launcher(kernel.hopper_mla_kernel, grid, constants, kind)

    def run(
        self,
        q_nope: torch.Tensor,
        q_rope: torch.Tensor,
        latent_cache: torch.Tensor,
        block_table: torch.Tensor,
        cache_seqlens: torch.Tensor,
        out: torch.Tensor,
        lse: torch.Tensor,
        score_scale: float,
        out_scale: float,
    ) -> None:
        """Write `out` and `lse`: partial results where there are several splits."""
        descriptors = (checked_descriptor()(latent_cache, *box) for box in self._boxes)
        pointers = (q_nope, q_rope, block_table, cache_seqlens, out, lse)
        self._launch(
            (
                q_nope, q_rope, *descriptors, block_table, cache_seqlens, out, lse,
                score_scale, out_scale, *self._sizes,
            ),
            pointers,
        )  # fmt: skip


@cache
def layout() -> Any:
    """Shared layout of a part of a page: rows of 128 bytes, swizzled."""
    from triton.experimental.gluon.language import NVMMASharedLayout

    return NVMMASharedLayout(128, 16, 3)
