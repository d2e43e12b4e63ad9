"""Writes new tokens into a paged cache, quantising on the way."""

import torch
import triton
import triton.language as tl

from kernels.checks import (
    FLOATS,
    check_device,
    check_dtype,
    check_fp8_device,
    check_rows_contiguous,
    check_shape,
)
from kernels.decode_checks import QUANTISED, check_kv_scale

LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
# Adding and taking away 1.5 * 2**23 steps rounds a float32 to whole steps, ties to even.
_STEPS = tl.constexpr(12582912.0)
_SMALLEST_NORMAL = tl.constexpr(2.0**-6)  # of fp8 e4m3, which has 8 steps to a power of two


@triton.jit(do_not_specialize=["num_slots", "kv_heads"])
def kv_store_kernel(
    source,  # [tokens, kv_heads, head_dim]
    cache,  # [num_blocks, block_size, kv_heads, head_dim]
    slot_mapping,  # [tokens] int64, block * block_size + place in it, -1 to skip
    scale,  # fp32, one element or [num_blocks, block_size, kv_heads]
    scale_number,
    num_slots,
    kv_heads,
    stride_source_token,
    stride_source_head,
    stride_block,
    stride_slot,
    stride_head,
    BLOCK_SIZE: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_D: tl.constexpr,
    LARGEST_VALUE: tl.constexpr,  # of the cache's dtype, 0 if it is not quantised
    FP8: tl.constexpr,
    SCALE: tl.constexpr,  # "number", "element" or "token_head", which is computed here
):
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    offs_d = tl.arange(0, BLOCK_D)
    slot = tl.load(slot_mapping + token)
    if (slot < 0) | (slot >= num_slots):
        return
    mask = (head[:, None] < kv_heads) & (offs_d[None, :] < HEAD_DIM)
    values = tl.load(
        source
        + token * stride_source_token
        + head[:, None].to(tl.int64) * stride_source_head
        + offs_d[None, :],
        mask=mask,
        other=0.0,
    )  # [BLOCK_H, BLOCK_D]
    if LARGEST_VALUE > 0:
        values = values.to(tl.float32)
        factor = tl.full([BLOCK_H], 1.0, tl.float32)
        if SCALE == "number":
            factor *= scale_number
        elif SCALE == "element":
            factor *= tl.load(scale)
        else:
            peak = tl.max(tl.abs(values), axis=1)
            factor = tl.div_rn(tl.where(peak > 0, peak, 1.0), factor * LARGEST_VALUE)
            tl.store(scale + slot * kv_heads + head, factor, mask=head < kv_heads)
        values = tl.div_rn(values, tl.broadcast_to(factor[:, None], values.shape))
        values = tl.minimum(tl.maximum(values, -LARGEST_VALUE), LARGEST_VALUE)
        if FP8:
            power = (values.to(tl.int32, bitcast=True) & 0x7F800000).to(tl.float32, bitcast=True)
            offset = tl.maximum(power, _SMALLEST_NORMAL) * (_STEPS / 8)
        else:
            offset = _STEPS
        values = (values + offset) - offset  # on the cache's grid, so that no cast rounds again
    place = cache + (slot // BLOCK_SIZE) * stride_block + (slot % BLOCK_SIZE) * stride_slot
    tl.store(
        place + head[:, None].to(tl.int64) * stride_head + offs_d[None, :],
        values.to(cache.dtype.element_ty),
        mask=mask,
    )


def store_kv(
    source: torch.Tensor,
    cache: torch.Tensor,
    slot_mapping: torch.Tensor,
    *,
    scale: float | torch.Tensor | None = None,
) -> None:
    """Write `source` into the slots of `cache`, in place; keys and values are one call each.

    source: [tokens, kv_heads, head_dim], fp16, bf16 or fp32.
    cache: [num_blocks, block_size, kv_heads, head_dim], source's dtype, fp8 e4m3 or int8.
    slot_mapping: int64 [tokens], block * block_size + place in the block; any value outside the
    cache (-1 by custom) skips the token, so padding in a CUDA graph writes nothing.
    scale: for an 8-bit cache: the number or one-element float32 tensor to divide by, or a float32
    tensor [num_blocks, block_size, kv_heads] that receives, for each token and head, the largest
    absolute value over the largest the dtype holds. Values beyond the range saturate.
    Raises ValueError or TypeError before launch.
    """
    check_shape("source", source, tokens=None, kv_heads=None, head_dim=None)
    tokens, kv_heads, head_dim = source.shape
    check_shape(
        "cache", cache, num_blocks=None, block_size=None, kv_heads=kv_heads, head_dim=head_dim
    )
    check_shape("slot_mapping", slot_mapping, tokens=tokens)
    check_dtype("source", source, FLOATS)
    check_dtype("cache", cache, (source.dtype, *QUANTISED))
    check_dtype("slot_mapping", slot_mapping, (torch.int64,))
    check_device(source=source, cache=cache, slot_mapping=slot_mapping)
    check_fp8_device("cache", cache)
    check_rows_contiguous(source=source, cache=cache, slot_mapping=slot_mapping)
    factor = check_kv_scale("scale", scale, cache)
    quantised = cache.dtype in QUANTISED
    if scale is not None and not quantised:
        raise ValueError(f"scale is for 8-bit caches, but the cache is {cache.dtype}; leave it out")
    if isinstance(factor, float) and not factor > 0:
        raise ValueError(f"scale is {factor}; it must be above 0")
    if tokens == 0 or cache.numel() == 0:
        return
    if isinstance(factor, torch.Tensor):
        mode = "element" if factor.numel() == 1 else "token_head"
    else:
        mode = "number"
    block_h = min(16, triton.next_power_of_2(kv_heads))
    kv_store_kernel[(tokens, triton.cdiv(kv_heads, block_h))](
        source,
        cache,
        slot_mapping,
        slot_mapping if mode == "number" else factor,
        factor if mode == "number" else 1.0,
        cache.shape[0] * cache.shape[1],
        kv_heads,
        *source.stride()[:2],
        *cache.stride()[:3],
        BLOCK_SIZE=cache.shape[1],
        HEAD_DIM=head_dim,
        BLOCK_H=block_h,
        BLOCK_D=triton.next_power_of_2(head_dim),
        LARGEST_VALUE=LARGEST.get(cache.dtype, 0.0),
        FP8=cache.dtype == torch.float8_e4m3fn,
        SCALE=mode,
        num_warps=4 if block_h * head_dim >= 1024 else 1,
    )


def store_kv_reference(
    source: torch.Tensor,
    cache: torch.Tensor,
    slot_mapping: torch.Tensor,
    *,
    scale: float | torch.Tensor | None = None,
) -> None:
    """The same in plain PyTorch, in place."""
    num_blocks, block_size = cache.shape[:2]
    kept = (slot_mapping >= 0) & (slot_mapping < num_blocks * block_size)
    page, place = slot_mapping[kept] // block_size, slot_mapping[kept] % block_size
    values = source[kept]
    if cache.dtype in QUANTISED:
        largest = LARGEST[cache.dtype]
        values = values.float()
        factor: float | torch.Tensor = 1.0 if scale is None else scale
        if isinstance(scale, torch.Tensor) and scale.numel() > 1:
            peak = values.abs().amax(-1)
            # Dividing by a tensor: dividing by a number multiplies by its reciprocal on a GPU.
            peak = torch.where(peak > 0, peak, 1.0)
            scale[page, place] = peak / torch.full_like(peak, largest)
            factor = scale[page, place][..., None]
        values = (values / torch.as_tensor(factor, device=values.device)).clamp(-largest, largest)
        if cache.dtype == torch.int8:
            values = values.round()
    cache[page, place] = values.to(cache.dtype)
