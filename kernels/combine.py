"""Joins the partial results of a split-KV decode: the second kernel, where sequences are split."""

import functools
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.checks import capability
from kernels.launcher import Launcher

_BLOCK_SPLITS = 128
_FEW_SPLITS = 16  # up to here a warp for each 128 columns of a row, above four warps for 32


@triton.jit(do_not_specialize=["num_splits"])
def combine_kernel(
    partial_out,  # [rows, num_splits, head_dim_v] fp32
    partial_lse,  # [rows, num_splits] fp32
    out,  # [rows, head_dim_v]
    lse,  # [rows] fp32
    num_splits,
    HEAD_DIM_V: tl.constexpr,
    BLOCK_SPLITS: tl.constexpr,
    NUM_CHUNKS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    OVERLAP_LAUNCH: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    offs_d = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    offs_s = tl.arange(0, BLOCK_SPLITS)
    if OVERLAP_LAUNCH:
        tl.extra.cuda.gdc_wait()
    lse_max = tl.full([], float("-inf"), tl.float32)
    for chunk in tl.static_range(NUM_CHUNKS):
        split = chunk * BLOCK_SPLITS + offs_s
        part = tl.load(
            partial_lse + row * num_splits + split, mask=split < num_splits, other=float("-inf")
        )
        lse_max = tl.maximum(lse_max, tl.max(part, axis=0))
    shift = tl.where(lse_max == float("-inf"), 0.0, lse_max)
    total = tl.full([], 0.0, tl.float32)
    acc = tl.zeros([BLOCK_D], tl.float32)
    for chunk in tl.static_range(NUM_CHUNKS):
        split = chunk * BLOCK_SPLITS + offs_s
        part = tl.load(
            partial_lse + row * num_splits + split, mask=split < num_splits, other=float("-inf")
        )
        weight = tl.exp2((part - shift) * 1.4426950408889634)  # [BLOCK_SPLITS]
        values = tl.load(
            partial_out + (row * num_splits + split[:, None]) * HEAD_DIM_V + offs_d[None, :],
            mask=(split[:, None] < num_splits) & (offs_d[None, :] < HEAD_DIM_V),
            other=0.0,
        )  # [BLOCK_SPLITS, BLOCK_D], on its way together with the weights
        values = tl.where(part[:, None] > float("-inf"), values, 0.0)
        total += tl.sum(weight, axis=0)
        acc += tl.sum(weight[:, None] * values, axis=0)
    total = tl.where(total == 0.0, 1.0, total)
    acc = acc / total
    tl.store(out + row * HEAD_DIM_V + offs_d, acc.to(out.dtype.element_ty), offs_d < HEAD_DIM_V)
    if tl.program_id(1) == 0:
        tl.store(lse + row, lse_max + tl.log(total))


@functools.cache
def combine_options(num_splits: int, head_dim_v: int) -> dict[str, int]:
    """Splits handled at once and how often, by powers of two, so that few variants exist."""
    block = min(_BLOCK_SPLITS, max(2, 1 << (num_splits - 1).bit_length()))
    warps = min(4, 1 << (-(-head_dim_v // 128) - 1).bit_length())
    few = block <= _FEW_SPLITS
    return {
        "BLOCK_SPLITS": block,
        "NUM_CHUNKS": -(-num_splits // block),
        "BLOCK_D": 128 * warps if few else 32,
        "num_warps": warps if few else 4,
    }


@functools.cache
def overlaps_launch(device: torch.device) -> bool:
    """Whether the combine kernel may be launched before the split kernel ends (Hopper on)."""
    return capability(device) >= 90


def combine_splits(
    partial_out: torch.Tensor, partial_lse: torch.Tensor, out: torch.Tensor, lse: torch.Tensor
) -> None:
    """Softmax-weighted sum over splits, in place into `out` and `lse`.

    partial_out fp32 [rows, num_splits, head_dim_v] and partial_lse fp32 [rows, num_splits]
    (natural logarithm; -inf marks an empty split, whose partial_out has no effect); out
    [.., head_dim_v] with `rows` rows in any float dtype; lse fp32, `rows` numbers. All contiguous.
    """
    rows, num_splits, head_dim_v = partial_out.shape
    pointers = (partial_out, partial_lse, out, lse)
    launch = _launcher(rows, num_splits, head_dim_v, out.dtype, out.device)
    launch((*pointers, num_splits), pointers)


@functools.lru_cache(maxsize=512)
def _launcher(
    rows: int, num_splits: int, head_dim_v: int, dtype: torch.dtype, device: torch.device
) -> Launcher:
    options = combine_options(num_splits, head_dim_v)
    constants = {
        "HEAD_DIM_V": head_dim_v,
        **{name: options[name] for name in ("BLOCK_SPLITS", "NUM_CHUNKS", "BLOCK_D")},
        "OVERLAP_LAUNCH": overlaps_launch(device),
    }
    early: dict[str, Any] = {"launch_pdl": True} if constants["OVERLAP_LAUNCH"] else {}
    grid = (rows, -(-head_dim_v // options["BLOCK_D"]), 1)
    return Launcher(
        combine_kernel, grid, constants, (device, dtype), num_warps=options["num_warps"], **early
    )


def combine_reference(
    partial_out: torch.Tensor, partial_lse: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in float64: out [rows, head_dim_v] and lse [rows]."""
    part = partial_lse.double()
    lse = torch.logsumexp(part, dim=1)
    weight = torch.exp(part - lse.nan_to_num(neginf=0.0)[:, None])
    values = torch.where(weight[..., None] > 0, partial_out.double(), 0.0)
    return (weight[..., None] * values).sum(1), lse
