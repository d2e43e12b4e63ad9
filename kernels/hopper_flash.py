"""Host side of the Hopper flash attention: what it can take, and its launch.

Needs compute capability 9.0 and a Triton whose Gluon has Hopper's warp-group MMA, TMA and mbarriers
(3.6 or newer); nothing of Gluon is imported before both are known.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
import triton
import triton.language as tl

from kernels import checks
from kernels.tiles import HopperTile, hopper_tile, padded_head_dim


@cache
def _gluon_kernel() -> ModuleType | None:
    """`kernels.hopper_kernel`, or None where this Triton's Gluon lacks something it uses."""
    try:
        from kernels import hopper_kernel
    except (ImportError, AttributeError):
        return None
    return hopper_kernel


@cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def supports(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out_dtype: torch.dtype,
    window: tuple[int, int],
) -> bool:
    """Whether `launch` takes these checked inputs; the portable kernel takes everything."""
    return (
        q.is_cuda
        and checks.capability(q.device) == 90
        and q.dtype != torch.float32
        and out_dtype.itemsize == 2
        and window in ((-1, -1), (-1, 0))
        and k.shape[1] > 0
        and hopper_tile(q.shape[3], v.shape[3], q.element_size(), window[1] == 0, 1) is not None
        and all(checks.tma_aligned(t) for t in (q, k, v))
        and _gluon_kernel() is not None
    )


def launch(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    out: torch.Tensor,
    lse: torch.Tensor | None,
    scale: float,
    window: tuple[int, int],
    factors: tuple[float | torch.Tensor | None, ...],
    *,
    tile: HopperTile | None = None,
) -> None:
    """Run the Gluon kernel on inputs that `supports` accepted, writing `out` and `lse`."""
    kernel: Any = _gluon_kernel()
    batch, seqlen_q, heads, head_dim = q.shape
    seqlen_k, kv_heads, head_dim_v = v.shape[1:]
    causal = window[1] == 0
    fp8 = q.dtype in checks.FP8
    tile = tile or hopper_tile(head_dim, head_dim_v, q.element_size(), causal, seqlen_q)
    assert tile is not None
    block_d, block_dv = padded_head_dim(head_dim), padded_head_dim(head_dim_v)
    score_scale, value_scale, pointers = checks.fold_factors(scale, factors)
    with torch.cuda.device_of(q):
        if fp8:
            values = _descriptor(transpose_values(v), block_dv, tile.block_n)
        else:
            values = _descriptor(v.transpose(1, 2), tile.block_n, block_dv)
        group = heads // kv_heads
        tiles = triton.cdiv(triton.cdiv(seqlen_q, 64) * group, tile.consumers)
        total = tiles * kv_heads * batch
        grid = min(total, _multiprocessors(q.device))
        counter = torch.zeros(1, dtype=torch.int32, device=q.device)  # tiles given out
        kernel.hopper_flash_kernel[(grid,)](
            _descriptor(q.transpose(1, 2), 64, block_d),
            _descriptor(k.transpose(1, 2), tile.block_n, block_d),
            values,
            _descriptor(out.transpose(1, 2), 64, min(block_dv, 128)),
            lse, *pointers, counter, total, tiles, kv_heads, tile.section,
            seqlen_q, seqlen_k, score_scale, value_scale,
            GROUP=group, BLOCK_N=tile.block_n, STAGES=tile.num_stages,
            CONSUMERS=tile.consumers, CAUSAL=causal, PINGPONG=tile.pingpong,
            SHIFT=8.0 if fp8 else 0.0, LAZY=tile.lazy,
            REGISTERS=240 if tile.consumers == 2 else 160, CONVERT=tile.convert, num_warps=4,
        )  # fmt: skip


@cache
def _layout(row_bytes: int, element_bytes: int) -> Any:
    """Rank-4 shared layout of a tile, swizzled as widely as its rows allow."""
    from triton.experimental.gluon.language import NVMMASharedLayout

    return NVMMASharedLayout(min(128, row_bytes), element_bytes * 8, 4)


def _descriptor(tensor: torch.Tensor, rows: int, columns: int) -> Any:
    """TMA descriptor of a [batch, heads, rows, columns] view, one tile of one head at a time."""
    from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

    size = tensor.element_size()
    # The stride of a dimension of one element is arbitrary; TMA wants it to be a multiple of 16.
    outer = zip(tensor.shape[:3], tensor.stride()[:3], strict=True)
    strides = [step if extent > 1 else 16 for extent, step in outer]
    block = [1, 1, rows, columns]
    return TensorDescriptor(
        tensor, list(tensor.shape), [*strides, 1], block, _layout(columns * size, size)
    )


@triton.jit
def _transpose_kernel(
    v_ptr, out_ptr, v_batch, v_row, v_head, seqlen, padded, KV_HEADS: tl.constexpr,
    D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    batch = (tl.program_id(1) // KV_HEADS).to(tl.int64)
    head = (tl.program_id(1) % KV_HEADS).to(tl.int64)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # Place 4i + 2h + j within each 16 holds key 8h + 2i + j.
    key = place // 16 * 16 + place // 2 % 2 * 8 + place // 4 % 4 * 2 + place % 2
    column = tl.arange(0, BLOCK_D)
    source = v_ptr + batch * v_batch + head * v_head + key.to(tl.int64)[:, None] * v_row
    values = tl.load(
        source + column[None, :], mask=(key < seqlen)[:, None] & (column < D)[None, :], other=0
    )
    target = out_ptr + (batch * KV_HEADS + head) * D * padded + column[:, None] * padded
    inside = (column < D)[:, None] & (place < padded)[None, :]
    tl.store(target + place[None, :], tl.trans(values), mask=inside)


def transpose_values(v: torch.Tensor) -> torch.Tensor:
    """fp8 v [batch, seqlen, kv_heads, head_dim] as [batch, kv_heads, head_dim, padded seqlen].

    Hopper multiplies fp8 only with keys contiguous. Keys are renamed within each 16 so that the
    weights need not move between threads; the padding, to a multiple of 16, is zero.
    """
    batch, seqlen, kv_heads, head_dim = v.shape
    padded = triton.cdiv(seqlen, 16) * 16
    out = torch.empty(batch, kv_heads, head_dim, padded, dtype=torch.uint8, device=v.device)
    block = 128
    _transpose_kernel[(triton.cdiv(padded, block), batch * kv_heads)](
        v.view(torch.uint8), out, *v.stride()[:3], seqlen, padded, KV_HEADS=kv_heads, D=head_dim,
        BLOCK_D=triton.next_power_of_2(head_dim), BLOCK=block, num_warps=4,
    )  # fmt: skip
    return out.view(v.dtype)
