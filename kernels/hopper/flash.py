"""Host side of the Hopper flash attention: what it can take, and its launch.

Needs compute capability 9.0 and a Triton whose Gluon has Hopper's warp-group MMA, TMA and mbarriers
(3.6 or newer); nothing of Gluon is imported before both are known.
"""

from functools import cache
from types import ModuleType
from typing import Any

import torch
import triton

from kernels import checks
from kernels.hopper.values import Transposer
from kernels.launcher import Launcher, checked_descriptor, zeroed_counter
from kernels.tiles import HopperTile, hopper_tile, padded_head_dim
from kernels.tma_maps import tensor_map

UNLIMITED = 2**29  # more keys than any sequence has; twice that still fits in 32 bits


@cache
def _gluon_kernel() -> ModuleType | None:
    """`kernels.hopper.flash_kernel`, or None where this Triton's Gluon lacks something it uses."""
    try:
        from kernels.hopper import flash_kernel as hopper_kernel
    except (ImportError, AttributeError):
        return None
    return hopper_kernel


@cache
def _multiprocessors(device: torch.device) -> int:
    return int(torch.cuda.get_device_properties(device).multi_processor_count)


def supports(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out_dtype: torch.dtype) -> bool:
    """Whether `Plan` takes these checked inputs; the portable kernel takes everything."""
    return (
        q.is_cuda
        and checks.capability(q.device) == 90
        and q.dtype != torch.float32
        and out_dtype.itemsize == 2
        and k.shape[1] > 0
        and hopper_tile(q.shape[3], v.shape[3], q.element_size(), True) is not None
        and all(checks.tma_aligned(t) for t in (q, k, v))
        and _gluon_kernel() is not None
    )


class Plan:
    """Attention over inputs of one layout: all of a launch but the addresses and the scales.

    q, k, v [batch, seqlen, heads, head_dim], of which only the layout is kept. Packed: the batch is
    1 and `sequences` of them lie along dimension 1.
    """

    def __init__(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        out_dtype: torch.dtype,
        window: tuple[int, int],
        *,
        sequences: int | None = None,
        tile: HopperTile | None = None,
    ) -> None:
        kernel: Any = _gluon_kernel()
        batch, seqlen_q, heads, head_dim = q.shape
        _, seqlen_k, kv_heads, head_dim_v = v.shape
        # A side that reaches past every sequence is open.
        left = -1 if window[0] >= seqlen_k else window[0]
        right = -1 if window[1] > seqlen_q else window[1]
        windowed = left >= 0 or right > 0
        span = left + right + 1 if left >= 0 and right >= 0 else None
        tile = tile or hopper_tile(head_dim, head_dim_v, q.element_size(), right == 0, span)
        assert tile is not None
        fp8 = q.dtype in checks.FP8
        packed = sequences is not None
        width = head_dim // tile.chunks if tile.chunks > 1 else padded_head_dim(head_dim)
        width_v = padded_head_dim(head_dim_v)
        group = heads // kv_heads
        tiles = triton.cdiv(triton.cdiv(seqlen_q, 64) * group, tile.consumers)
        if sequences is not None:  # as many as the kernel's `sequence_of` may give out
            tiles = (seqlen_q // 64 + sequences) * group // tile.consumers
            tiles += sequences if group % tile.consumers else 0
        total = tiles * kv_heads * batch
        self._lengths = (total, tiles, kv_heads, tile.section, seqlen_q, seqlen_k)
        # A window that ends at the query's own key is the causal mask with a limit on its left.
        self._limits: tuple[int | None, int | None] = (None, None)
        if windowed:
            after = None if right == 0 else right if right > 0 else UNLIMITED
            self._limits = (left if left >= 0 else UNLIMITED, after)
        self._sequences = sequences
        self._transpose = Transposer(v, sequences) if fp8 else None
        maps = [
            _map(q.shape, q.stride(), q.dtype, 64, width, packed),
            _map(k.shape, k.stride(), k.dtype, tile.block_n, width, packed),
            _map(v.shape, v.stride(), v.dtype, tile.block_n, width_v, packed),
            _map(
                *_contiguous(batch, seqlen_q, heads, head_dim_v),
                out_dtype,
                64,
                out_width(tile, width_v),
                packed,
            ),
        ]
        if self._transpose:
            shape, strides = _contiguous(*self._transpose.shape)
            layout = _layout(tile.block_n, 1, 4)
            maps[2] = (list(shape), list(strides), [1, 1, width_v, tile.block_n], layout)
        self._maps = maps
        values = constants(tile, group, right == 0, fp8)
        grid = min(total, _multiprocessors(q.device))
        kind = (q.device, q.dtype, out_dtype, width, width_v, packed, windowed)
        early = {"launch_pdl": True} if fp8 else {}  # beside the end of the transposition
        self._launch = Launcher(kernel.hopper_flash_kernel, (grid, 1, 1), values, kind, **early)

    def run(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        out: torch.Tensor,
        lse: torch.Tensor | None,
        scale: float,
        factors: tuple[float | torch.Tensor | None, ...],
        cu_seqlens: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None),
    ) -> None:
        """Write `out` [batch, seqlen_q, heads, head_dim_v] and `lse`, both contiguous."""
        score_scale, value_scale, pointers = checks.fold_factors(scale, factors)
        with torch.cuda.device_of(q):
            counter = zeroed_counter(q.device)  # tiles given out; zero before the values' launch
            if self._transpose:
                v = self._transpose(v, cu_seqlens[1])
            descriptor = checked_descriptor()
            q_map, k_map, v_map, out_map = self._maps
            self._launch(
                (
                    descriptor(q, *q_map), descriptor(k, *k_map), descriptor(v, *v_map),
                    descriptor(out, *out_map), lse, *pointers, counter, *self._lengths, score_scale,
                    value_scale, *self._limits, *cu_seqlens, self._sequences,
                ),
                (lse, *pointers, *cu_seqlens),
            )  # fmt: skip


def constants(tile: HopperTile, group: int, causal: bool, fp8: bool) -> dict[str, Any]:
    """The kernel's constants in the order of its parameters; `group`: query heads to a KV head.

    2**(SHIFT + LAZY) is the largest weight: e4m3 ends at 448, just above 2**8.75.
    """
    return {
        "GROUP": group, "BLOCK_N": tile.block_n, "STAGES": tile.num_stages,
        "CONSUMERS": tile.consumers, "CHUNKS": tile.chunks, "CAUSAL": causal,
        "PINGPONG": tile.pingpong, "SHIFT": 8.0 if fp8 else 0.0, "LAZY": 0.75 if fp8 else 8.0,
        "REGISTERS": 240 if tile.consumers == 2 else 160, "LATE": tile.late,
        "CHAINED": tile.chained,
    }  # fmt: skip


def out_width(tile: HopperTile, width_v: int) -> int:
    """Columns of the output that leave at once: half of them where shared memory is full."""
    return 64 if tile.chunks > 1 else min(width_v, 128)


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
    """Plan and run a dense batch that `supports` accepted, writing `out` and `lse`."""
    Plan(q, k, v, out.dtype, window, tile=tile).run(q, k, v, out, lse, scale, factors)


def _contiguous(
    batch: int, rows: int, heads: int, columns: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and strides of a contiguous tensor of four dimensions."""
    return (batch, rows, heads, columns), (rows * heads * columns, heads * columns, columns, 1)


@cache
def _layout(row_bytes: int, element_bytes: int, rank: int) -> Any:
    """Shared layout of a tile, swizzled as widely as its rows allow."""
    from triton.experimental.gluon.language import NVMMASharedLayout

    return NVMMASharedLayout(min(128, row_bytes), element_bytes * 8, rank)


def _map(
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: torch.dtype,
    rows: int,
    columns: int,
    packed: bool,
) -> tuple[list[int], list[int], list[int], Any]:
    """A descriptor's extents, strides, block and layout; one tile of one head at a time."""
    extents, steps, block = tensor_map(shape, strides, rows, columns, packed)
    layout = _layout(columns * dtype.itemsize, dtype.itemsize, len(block))
    return extents, steps, block, layout
