"""fp8 values transposed for Hopper, which multiplies fp8 only with keys contiguous."""

import torch
import triton
import triton.language as tl

from kernels.launcher import Launcher

PADDING = 128  # a packed sequence starts at a multiple of this many keys


@triton.jit
def _transpose_kernel(
    v_ptr, out_ptr, cu_ptr, v_batch, v_row, v_head, seqlen, padded, sequences,
    KV_HEADS: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK: tl.constexpr,
    OVERLAP_LAUNCH: tl.constexpr,
):  # fmt: skip
    if OVERLAP_LAUNCH:  # the attention kernel waits before it reads
        tl.extra.cuda.gdc_launch_dependents()
    blocks = tl.cdiv(padded, BLOCK)
    block = tl.program_id(0) % blocks
    batch = (tl.program_id(0) // blocks // KV_HEADS).to(tl.int64)
    head = (tl.program_id(0) // blocks % KV_HEADS).to(tl.int64)
    place = block * BLOCK + tl.arange(0, BLOCK)
    # Place 4i + 2h + j within each 16 holds key 8h + 2i + j.
    key = place // 16 * 16 + place // 2 % 2 * 8 + place // 4 % 4 * 2 + place % 2
    end = seqlen
    if cu_ptr is not None:  # the sequence of this block, and its keys among all
        low, high = 0, sequences
        while high - low > 1:
            middle = (low + high) // 2
            if tl.load(cu_ptr + middle) // BLOCK + middle <= block:
                low = middle
            else:
                high = middle
        begin = tl.load(cu_ptr + low)
        end = tl.load(cu_ptr + low + 1)
        key += begin - (begin // BLOCK + low) * BLOCK
    column = tl.arange(0, BLOCK_D)
    source = v_ptr + batch * v_batch + head * v_head + key.to(tl.int64)[:, None] * v_row
    values = tl.load(
        source + column[None, :], mask=(key < end)[:, None] & (column < D)[None, :], other=0
    )
    target = out_ptr + ((batch * KV_HEADS + head) * D + column[:, None]) * padded
    inside = (column < D)[:, None] & (place < padded)[None, :]
    tl.store(target + place[None, :], tl.trans(values), mask=inside)


class Transposer:
    """Transposes any v of one layout, [batch, seqlen, kv_heads, head_dim].

    The result is [batch, kv_heads, head_dim, padded seqlen]. Keys are renamed within each 16 so
    that the weights need not move between threads; the padding, to a multiple of 16, is zero. Of
    packed sequences, b starts at key (cu_seqlens[b] // 128 + b) * 128.
    """

    def __init__(self, v: torch.Tensor, sequences: int | None) -> None:
        batch, seqlen, kv_heads, head_dim = v.shape
        padded = triton.cdiv(seqlen, 16) * 16
        if sequences is not None:
            padded = (seqlen // PADDING + sequences) * PADDING
        self.shape = (batch, kv_heads, head_dim, padded)
        self._numbers = (*v.stride()[:3], seqlen, padded, sequences)
        constants = {
            "KV_HEADS": kv_heads, "D": head_dim, "BLOCK_D": triton.next_power_of_2(head_dim),
            "BLOCK": PADDING, "OVERLAP_LAUNCH": v.is_cuda,
        }  # fmt: skip
        grid = (triton.cdiv(padded, PADDING) * batch * kv_heads, 1, 1)
        self._launch = Launcher(_transpose_kernel, grid, constants, (v.device, self._numbers))

    def __call__(self, v: torch.Tensor, cu_seqlens: torch.Tensor | None) -> torch.Tensor:
        out = torch.empty(self.shape, dtype=torch.uint8, device=v.device)
        source = v.view(torch.uint8)
        self._launch((source, out, cu_seqlens, *self._numbers), (source, cu_seqlens))
        return out.view(v.dtype)
