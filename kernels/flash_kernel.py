"""The portable flash attention kernel and its launch, on arguments already checked.

It loads through TMA descriptors on compute capability 9.0 and up, through pointers elsewhere.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels import checks
from kernels.tiles import Tile, padded_head_dim, prefill_tile
from kernels.tma_maps import FAR, tensor_map

_FAR = tl.constexpr(FAR)


@triton.jit
def _load(
    source, batch, head, start, begin, rows, stride,
    D: tl.constexpr, BLOCK: tl.constexpr, BLOCK_D: tl.constexpr, DESC: tl.constexpr,
    PACKED: tl.constexpr,
):  # fmt: skip
    """Rows start .. start + BLOCK of a head, 0 past its end.  # [BLOCK, BLOCK_D]

    `source` is a TMA descriptor of the whole tensor, or a pointer to the first row of the head.
    """
    if DESC:
        if PACKED:
            place = [_FAR, begin + rows, head, start - rows + _FAR, 0]
        else:
            place = [batch, head, start, 0]
        return source.load(place).reshape(BLOCK, BLOCK_D)
    else:  # noqa: RET505 (the compiler needs the branch not taken left out)
        row = tl.arange(0, BLOCK)
        column = tl.arange(0, BLOCK_D)
        base = source + tl.cast(start, tl.int64) * stride
        inside = (start + row < rows)[:, None] & (column < D)[None, :]
        return tl.load(base + row[:, None] * stride + column[None, :], mask=inside, other=0.0)


@triton.jit
def _attend(
    acc, row_max, row_sum, q, keys, values, low, high,  # loop state and range of keys
    batch, kv_head, begin, position, seqlen_k, stride_k, stride_v, scale, left, right,
    MASKED: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    BLOCK_N: tl.constexpr, DESC: tl.constexpr, PACKED: tl.constexpr, PRECISION: tl.constexpr,
    SHIFT: tl.constexpr,
):  # fmt: skip
    """One pass of online softmax over keys low .. high; scores are in units of log2.

    What a step can work out again must not be kept over the loop: at head_dim 128 the output and
    the scores take 224 of 255 registers.
    """
    for start in tl.range(low, high, BLOCK_N, disable_licm=True):
        k = _load(
            keys, batch, kv_head, start, begin, seqlen_k, stride_k, D, BLOCK_N, BLOCK_D, DESC,
            PACKED,
        )  # fmt: skip
        scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # [BLOCK_M, BLOCK_N]
        if MASKED:
            key = start + tl.arange(0, BLOCK_N)[None, :]
            allowed = key < seqlen_k
            if RIGHT:
                allowed &= key <= (position + right)[:, None]
            if LEFT:
                allowed &= key >= (position - left)[:, None]
            scores = tl.where(allowed, scores, -float("inf"))
        new_max = tl.maximum(row_max, tl.max(scores, 1) * scale)
        reference = new_max
        if MASKED:  # a row that has seen no key yet: avoid inf - inf
            reference = tl.where(new_max == -float("inf"), 0.0, new_max)
        weights = tl.exp2(scores * scale - (reference - SHIFT)[:, None])
        decay = tl.exp2(row_max - reference)
        row_sum = row_sum * decay + tl.sum(weights, 1)
        v = _load(
            values, batch, kv_head, start, begin, seqlen_k, stride_v, DV, BLOCK_N, BLOCK_DV, DESC,
            PACKED,
        )  # fmt: skip
        acc = tl.dot(weights.to(v.dtype), v, acc * decay[:, None], input_precision=PRECISION)
        row_max = new_max
    return acc, row_max, row_sum


@triton.jit(do_not_specialize=["max_seqlen_q", "max_seqlen_k", "left", "right", "lse_stride"])
def flash_kernel(
    queries, keys, values, out_ptr, lse_ptr, cu_q_ptr, cu_k_ptr,
    q_scale_ptr, k_scale_ptr, v_scale_ptr,
    q_batch, q_row, q_head, k_batch, k_row, k_head, v_batch, v_row, v_head,
    out_batch, out_row, out_head, lse_stride,
    max_seqlen_q, max_seqlen_k, score_scale, value_scale, left, right,
    KV_HEADS: tl.constexpr, GROUP: tl.constexpr, LEFT: tl.constexpr, RIGHT: tl.constexpr,
    D: tl.constexpr, DV: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_DV: tl.constexpr,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    DESC: tl.constexpr, PRECISION: tl.constexpr, SHIFT: tl.constexpr,
):  # fmt: skip
    """One tile of BLOCK_M queries of one head; q, k and v are descriptors (DESC) or pointers.

    Programs that share a KV head run next to each other, long causal rows first. SHIFT keeps fp8
    weights away from underflow: they are stored times 2**SHIFT.
    """
    PACKED: tl.constexpr = cu_q_ptr is not None
    tiles = tl.cdiv(max_seqlen_q, BLOCK_M)
    tile = tiles - 1 - tl.program_id(0) // GROUP % tiles
    batch = tl.program_id(0) // (GROUP * tiles)
    kv_head = tl.program_id(1)
    head = kv_head * GROUP + tl.program_id(0) % GROUP
    begin_q, begin_k, seqlen_q, seqlen_k = 0, 0, max_seqlen_q, max_seqlen_k
    if PACKED:
        begin_q = tl.load(cu_q_ptr + batch)
        seqlen_q = tl.load(cu_q_ptr + batch + 1) - begin_q
        begin_k = tl.load(cu_k_ptr + batch)
        seqlen_k = tl.load(cu_k_ptr + batch + 1) - begin_k
    first = tile * BLOCK_M
    if first >= seqlen_q:
        return
    big_batch, big_head = tl.cast(batch, tl.int64), tl.cast(head, tl.int64)
    if PACKED:
        big_batch = big_batch * 0  # packed sequences are rows of one batch
    big_q = tl.cast(begin_q, tl.int64)
    if not DESC:
        big_k, big_kv_head = tl.cast(begin_k, tl.int64), tl.cast(kv_head, tl.int64)
        queries += big_batch * q_batch + big_q * q_row + big_head * q_head
        keys += big_batch * k_batch + big_k * k_row + big_kv_head * k_head
        values += big_batch * v_batch + big_k * v_row + big_kv_head * v_head
    q = _load(
        queries, batch, head, first, begin_q, seqlen_q, q_row, D, BLOCK_M, BLOCK_D, DESC, PACKED
    )
    if q_scale_ptr is not None:
        score_scale *= tl.load(q_scale_ptr)
    if k_scale_ptr is not None:
        score_scale *= tl.load(k_scale_ptr)
    if v_scale_ptr is not None:
        value_scale *= tl.load(v_scale_ptr)

    row = first + tl.arange(0, BLOCK_M)
    offset = seqlen_k - seqlen_q
    position = row + offset
    lowest = first + offset
    highest = tl.minimum(first + BLOCK_M, seqlen_q) - 1 + offset
    # Keys low .. high are seen by some row, whole_low .. whole_high by every row.
    low, whole_low, high = 0, 0, seqlen_k
    whole_high = seqlen_k // BLOCK_N * BLOCK_N
    if RIGHT:
        high = tl.minimum(seqlen_k, highest + right + 1)
        whole_high = tl.minimum(seqlen_k, tl.maximum(lowest + right + 1, 0)) // BLOCK_N * BLOCK_N
    if LEFT:
        low = tl.maximum(lowest - left, 0) // BLOCK_N * BLOCK_N
        whole_low = tl.cdiv(tl.maximum(highest - left, 0), BLOCK_N) * BLOCK_N
        whole_low = tl.maximum(low, tl.minimum(whole_low, tl.cdiv(high, BLOCK_N) * BLOCK_N))
        whole_high = tl.maximum(whole_low, whole_high)

    acc = tl.zeros([BLOCK_M, BLOCK_DV], tl.float32)
    row_max = tl.full([BLOCK_M], -float("inf"), tl.float32)
    row_sum = tl.zeros([BLOCK_M], tl.float32)
    # The masked keys first: what only they need is forgotten when the long loop begins.
    acc, row_max, row_sum = _attend(
        acc, row_max, row_sum, q, keys, values, whole_high, high,
        batch, kv_head, begin_k, position, seqlen_k, k_row, v_row, score_scale, left, right,
        True, LEFT, RIGHT, D, DV, BLOCK_D, BLOCK_DV, BLOCK_N, DESC, PACKED, PRECISION, SHIFT,
    )  # fmt: skip
    if LEFT:
        acc, row_max, row_sum = _attend(
            acc, row_max, row_sum, q, keys, values, low, tl.minimum(whole_low, high),
            batch, kv_head, begin_k, position, seqlen_k, k_row, v_row, score_scale, left, right,
            True, LEFT, RIGHT, D, DV, BLOCK_D, BLOCK_DV, BLOCK_N, DESC, PACKED, PRECISION, SHIFT,
        )  # fmt: skip
    acc, row_max, row_sum = _attend(
        acc, row_max, row_sum, q, keys, values, whole_low, whole_high,
        batch, kv_head, begin_k, position, seqlen_k, k_row, v_row, score_scale, left, right,
        False, LEFT, RIGHT, D, DV, BLOCK_D, BLOCK_DV, BLOCK_N, DESC, PACKED, PRECISION, SHIFT,
    )  # fmt: skip

    saw_keys = row_sum > 0.0
    out = acc * (value_scale / tl.where(saw_keys, row_sum, 1.0))[:, None]
    out_ptr += big_batch * out_batch + (big_q + first) * out_row + big_head * out_head
    column = tl.arange(0, BLOCK_DV)
    inside = (row < seqlen_q)[:, None] & (column < DV)[None, :]
    target = out_ptr + tl.arange(0, BLOCK_M)[:, None] * out_row + column[None, :]
    tl.store(target, out.to(out_ptr.dtype.element_ty), mask=inside)
    if lse_ptr is not None:
        lse = row_max + tl.log2(tl.where(saw_keys, row_sum, 1.0)) - SHIFT
        lse = tl.where(saw_keys, lse * 0.6931471805599453, -float("inf"))
        lse_ptr += (big_batch * KV_HEADS * GROUP + big_head) * lse_stride + big_q
        tl.store(lse_ptr + row, lse, mask=row < seqlen_q)


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
    cu_seqlens: tuple[torch.Tensor, torch.Tensor] | None = None,
    max_seqlens: tuple[int, int] | None = None,
    tile: Tile | None = None,
    descriptors: bool | None = None,
) -> None:
    """Run the portable kernel on checked arguments, writing `out` and `lse`.

    With `cu_seqlens` the batch dimension is 1 and the sequences lie along dimension 1.
    """
    capability = checks.capability(q.device)
    head_dim, head_dim_v = q.shape[3], v.shape[3]
    tile = tile or prefill_tile(capability, max(head_dim, head_dim_v), q.element_size())
    if descriptors is None:
        descriptors = (
            capability >= 90
            and q.element_size() < 4
            and k.shape[1] > 0
            and all(checks.tma_aligned(t) for t in (q, k, v))
        )
    sources: list[Any] = [q, k, v]
    if descriptors:
        rows = (tile.block_m, tile.block_n, tile.block_n)
        sources = [
            _descriptor(t, r, cu_seqlens is not None) for t, r in zip(sources, rows, strict=True)
        ]
    batch = q.shape[0] if cu_seqlens is None else cu_seqlens[0].shape[0] - 1
    max_q, max_k = max_seqlens or (q.shape[1], k.shape[1])
    heads, kv_heads = q.shape[2], k.shape[2]
    score_scale, value_scale, pointers = checks.fold_factors(scale, factors)
    left, right = window
    grid = (triton.cdiv(max_q, tile.block_m) * (heads // kv_heads) * batch, kv_heads)
    with torch.cuda.device_of(q):
        flash_kernel[grid](
            *sources, out, lse, *(cu_seqlens or (None, None)), *pointers,
            *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *out.stride()[:3], out.shape[1],
            max_q, max_k, score_scale, value_scale, left, right,
            KV_HEADS=kv_heads, GROUP=heads // kv_heads, LEFT=left >= 0, RIGHT=right >= 0,
            D=head_dim, DV=head_dim_v, BLOCK_D=padded_head_dim(head_dim),
            BLOCK_DV=padded_head_dim(head_dim_v), BLOCK_M=tile.block_m, BLOCK_N=tile.block_n,
            DESC=descriptors, PRECISION="ieee" if q.dtype == torch.float32 else "tf32",
            SHIFT=8.0 if q.dtype in checks.FP8 else 0.0,
            num_warps=tile.num_warps, num_stages=tile.num_stages,
        )  # fmt: skip


def _descriptor(tensor: torch.Tensor, rows: int, packed: bool) -> TensorDescriptor:
    """TMA's view of q, k or v, of which a load takes `rows` rows of one head."""
    columns = padded_head_dim(tensor.shape[3])
    return TensorDescriptor(
        tensor, *tensor_map(tensor.shape, tensor.stride(), rows, columns, packed)
    )
