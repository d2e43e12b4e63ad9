"""The small kernels between matmuls and attention, one launch each, as engines fuse them."""

import torch
import triton
import triton.language as tl

BLOCK_H = 8
COLUMNS = 1024


@triton.jit  # type: ignore[untyped-decorator]
def _add_rms_norm(  # type: ignore[no-untyped-def]
    residual, delta, weight, out, row_stride, out_stride, width, eps,
    HAS_DELTA: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < width
    x = tl.load(residual + row * row_stride + column, mask=inside, other=0.0).to(tl.float32)
    if HAS_DELTA:
        x += tl.load(delta + row * row_stride + column, mask=inside, other=0.0).to(tl.float32)
        tl.store(residual + row * row_stride + column, x.to(residual.dtype.element_ty), inside)
    scale = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / width + eps)
    gain = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * out_stride + column, (x * scale * gain).to(out.dtype.element_ty), inside)


def add_rms_norm(
    residual: torch.Tensor,
    delta: torch.Tensor | None,
    weight: torch.Tensor,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """residual += delta in place, then its RMS norm. residual, delta [tokens, width].

    out may be `residual` itself where there is no delta (a norm in place).
    """
    rows, width = residual.shape
    out = torch.empty_like(residual) if out is None else out
    _add_rms_norm[(rows,)](
        residual, residual if delta is None else delta, weight, out,
        residual.stride(0), out.stride(0), width, 1e-6, HAS_DELTA=delta is not None,
        BLOCK=triton.next_power_of_2(width), num_warps=8 if width > 2048 else 4,
    )  # fmt: skip
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _norm_rope(  # type: ignore[no-untyped-def]
    x, weight, cos, sin, positions, heads, token_stride, head_stride, eps,
    HALF: tl.constexpr, BLOCK_HALF: tl.constexpr, HEADS: tl.constexpr, NORM: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    column = tl.arange(0, BLOCK_HALF)
    mask = (head < heads)[:, None] & (column < HALF)[None, :]
    place = x + token * token_stride + head[:, None] * head_stride + column[None, :]
    low = tl.load(place, mask=mask, other=0.0).to(tl.float32)  # [HEADS, BLOCK_HALF]
    high = tl.load(place + HALF, mask=mask, other=0.0).to(tl.float32)
    if NORM:
        squares = tl.sum(low * low + high * high, axis=1) / (2 * HALF)
        scale = (1.0 / tl.sqrt(squares + eps))[:, None]
        inside = column < HALF
        low *= scale * tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)[None, :]
        gain = tl.load(weight + HALF + column, mask=inside, other=0.0).to(tl.float32)
        high *= scale * gain[None, :]
    position = tl.load(positions + token).to(tl.int64)
    turn = position * HALF + column
    c = tl.load(cos + turn, mask=column < HALF, other=0.0)[None, :]
    s = tl.load(sin + turn, mask=column < HALF, other=0.0)[None, :]
    tl.store(place, (low * c - high * s).to(x.dtype.element_ty), mask)
    tl.store(place + HALF, (high * c + low * s).to(x.dtype.element_ty), mask)


def norm_rope(
    x: torch.Tensor,
    positions: torch.Tensor,
    table: tuple[torch.Tensor, torch.Tensor],
    weight: torch.Tensor | None = None,
) -> None:
    """Norm per head where `weight` is given, then rotary embedding; in place.

    x [tokens, heads, dim] with any strides but the last; table (cos, sin) [positions, dim / 2].
    """
    tokens, heads, dim = x.shape
    _norm_rope[(tokens, triton.cdiv(heads, BLOCK_H))](
        x, table[0] if weight is None else weight, *table, positions, heads,
        x.stride(0), x.stride(1), 1e-6, HALF=dim // 2,
        BLOCK_HALF=triton.next_power_of_2(dim // 2), HEADS=BLOCK_H, NORM=weight is not None,
        num_warps=4,
    )  # fmt: skip


def rope_table(
    positions: int, dim: int, device: torch.device, base: float = 10000.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """(cos, sin), float32 [positions, dim / 2]."""
    frequency = base ** (-torch.arange(0, dim, 2, device=device, dtype=torch.float32) / dim)
    angle = torch.arange(positions, device=device, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


@triton.jit  # type: ignore[untyped-decorator]
def _activate(  # type: ignore[no-untyped-def]
    x, out, width, GATED: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    source = x + row * width * (2 if GATED else 1)
    gate = tl.load(source + column, mask=inside, other=0.0).to(tl.float32)
    value = gate / (1.0 + tl.exp(-gate))
    if GATED:
        value *= tl.load(source + width + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * width + column, value.to(out.dtype.element_ty), inside)


def activate(x: torch.Tensor, *, gated: bool = True) -> torch.Tensor:
    """silu(gate) * up of [tokens, 2 x width], or silu of [tokens, width]; contiguous."""
    rows, columns = x.shape
    width = columns // 2 if gated else columns
    out = torch.empty(rows, width, dtype=x.dtype, device=x.device)
    _activate[(rows, triton.cdiv(width, COLUMNS))](
        x, out, width, GATED=gated, BLOCK=COLUMNS, num_warps=4
    )
    return out


@triton.jit  # type: ignore[untyped-decorator]
def _sum_experts(  # type: ignore[no-untyped-def]
    rows, place, share, out, width, TOP_K: tl.constexpr, BLOCK: tl.constexpr
):
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < width
    total = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(TOP_K):
        row = tl.load(place + token * TOP_K + k).to(tl.int64)
        part = tl.load(rows + row * width + column, mask=inside, other=0.0).to(tl.float32)
        total += part * tl.load(share + token * TOP_K + k).to(tl.float32)
    tl.store(out + token * width + column, total.to(out.dtype.element_ty), inside)


def sum_experts(rows: torch.Tensor, place: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Each token's weighted sum over the rows its experts wrote.

    rows [tokens x top_k, width], sorted by expert; place [tokens, top_k]: each one's row in it;
    share [tokens, top_k]. Returns [tokens, width].
    """
    tokens, top_k = place.shape
    out = torch.empty(tokens, rows.shape[1], dtype=rows.dtype, device=rows.device)
    _sum_experts[(tokens, triton.cdiv(rows.shape[1], COLUMNS))](
        rows, place, share, out, rows.shape[1], TOP_K=top_k, BLOCK=COLUMNS, num_warps=4
    )
    return out


def route(
    logits: torch.Tensor, chosen: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """How tokens are sorted by expert, with nothing read back to the host.

    logits [tokens, experts]; chosen int64 [tokens, top_k]. Returns share [tokens, top_k]; source
    int64 [tokens x top_k], the token of each sorted row; place int64 [tokens, top_k], the sorted
    row of each choice; ends int32 [experts].
    """
    tokens, top_k = chosen.shape
    share = torch.softmax(logits.gather(1, chosen), dim=-1)
    ordered, order = chosen.view(-1).sort()
    wanted = torch.arange(logits.shape[1], device=chosen.device, dtype=ordered.dtype)
    ends = torch.searchsorted(ordered, wanted, right=True, out_int32=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(tokens * top_k, device=chosen.device)
    return share, order // top_k, place.view(tokens, top_k), ends


def grouped_matmul(x: torch.Tensor, weights: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """x's rows up to ends[e] by expert e: x [rows, in], weights [experts, out, in], ends int32."""
    if x.is_cuda:
        found: torch.Tensor = torch._grouped_mm(x, weights.transpose(1, 2), offs=ends)
        return found
    parts = x.tensor_split(ends.tolist()[:-1])
    return torch.cat([part @ weight.t() for part, weight in zip(parts, weights, strict=True)])


def matmul(x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor | None) -> torch.Tensor:
    """x [tokens, in] by weight [out, in]; an fp8 weight takes its factor and multiplies in fp8."""
    if weight.dtype != torch.float8_e4m3fn:
        return x @ weight.t()
    one = torch.ones((), device=x.device) if scale is None else scale
    small = x.to(torch.float8_e4m3fn)
    return torch._scaled_mm(small, weight.t(), one, one, out_dtype=x.dtype)
