"""The kernels against float64, held to what plain PyTorch reaches in the same precision.

A kernel passes when its error is at most twice that of plain PyTorch, which rounds its inputs to
the same format and its scores as well. Errors are |out - exact| / |exact| over the whole tensor.
"""

from collections.abc import Iterator
from typing import Any

import torch

from kernels.flash import flash_attention, flash_attention_varlen
from kernels.kv_store import store_kv, store_kv_reference
from kernels.mla_decode import mla_decode_attention
from kernels.naive import naive_attention
from kernels.paged_decode import paged_decode_attention
from kernels.paged_reference import mla_decode_reference, paged_decode_reference
from kernels.reference import attention_reference, varlen_attention_reference
from planner.kinds.attention import Attention, LatentAttention
from validate.bench import DTYPES, Bench, tensor_of
from validate.kv_pool import make_pool
from validate.record import Case, measured, skipped

FACTOR = 2.0
FP8_PROBABILITY_ERROR = 0.03
"""What rounding attention weights to e4m3 costs: half a step of 1/8, averaged over the row."""


def relative_error(out: torch.Tensor, exact: torch.Tensor) -> float:
    """|out - exact| / |exact|; an output that is not finite counts as wholly wrong."""
    difference = (out.double() - exact.double()).norm() / exact.double().norm()
    return float(difference) if torch.isfinite(difference) else 1e9


def _case(name: str, title: str, bound: float, how: str) -> Case:
    return Case(
        f"correctness/{name}".replace(" ", "-"), "correctness", title, "error", how, bound,
        at_most=True,
    )  # fmt: skip


HOW = "twice the error of plain PyTorch in the same format"


def prefill_cases(bench: Bench, settings: list[dict[str, Any]]) -> Iterator[Case]:
    """settings: tokens, heads, kv_heads, dim, and format, value_dim, window where they differ."""
    for setting in settings:
        yield _prefill(bench, **setting)


def _prefill(
    bench: Bench, tokens: int, heads: int, kv_heads: int, dim: int, format: str = "",
    value_dim: int = 0, window: int = 0,
) -> Case:  # fmt: skip
    name = format or bench.floats
    wide = value_dim or dim
    left = window - 1 if window else -1
    label = f"{heads}/{kv_heads}/{dim}" + (f"/{wide}" if wide != dim else "")
    label += (f" window {window}" if window else "") + f" {name} {tokens}"
    title = f"Flash attention, {label} tokens"
    if name == "fp8" and not bench.has_fp8:
        return skipped(_case(f"flash/{label}", title, 0.0, HOW), "this device has no fp8")
    dtype = DTYPES[name]
    q = bench.random(1, tokens, heads, dim, dtype=dtype)
    k = bench.random(1, tokens, kv_heads, dim, dtype=dtype)
    v = bench.random(1, tokens, kv_heads, wide, dtype=dtype)
    exact, _ = attention_reference(q, k, v, window_size=(left, 0))
    out = tensor_of(flash_attention(q, k, v, window_size=(left, 0)))
    if name == "fp8":
        bound, how = FP8_PROBABILITY_ERROR * FACTOR, "twice what rounding weights to fp8 costs"
    else:
        plain = naive_attention(q, k, v, window_size=(left, 0))
        bound, how = FACTOR * relative_error(plain, exact), HOW
    return measured(_case(f"flash/{label}", title, bound, how), [relative_error(out, exact)])


def varlen_case(
    bench: Bench, lengths: list[int], heads: int, kv_heads: int, dim: int
) -> Iterator[Case]:
    """Packed sequences, one of them empty."""
    dtype = DTYPES[bench.floats]
    total = sum(lengths)
    q = bench.random(total, heads, dim, dtype=dtype)
    k, v = (bench.random(total, kv_heads, dim, dtype=dtype) for _ in range(2))
    ends = torch.tensor([0, *lengths], device=bench.device).cumsum(0).int()
    out = tensor_of(flash_attention_varlen(q, k, v, ends, ends, max(lengths), max(lengths)))
    exact, _ = varlen_attention_reference(q, k, v, ends, ends)
    plain = torch.cat([
        naive_attention(q[None, a:b], k[None, a:b], v[None, a:b])[0]
        for a, b in zip(ends.tolist(), ends.tolist()[1:], strict=False)
    ])  # fmt: skip
    case = _case(
        "varlen", f"Packed prefill of {len(lengths)} sequences",
        FACTOR * relative_error(plain, exact), HOW,
    )  # fmt: skip
    yield measured(case, [relative_error(out, exact)])


def decode_cases(bench: Bench, settings: list[dict[str, Any]]) -> Iterator[Case]:
    """settings: sequences, context, heads, kv_heads, dim, and cache, window where they differ."""
    for setting in settings:
        yield _decode(bench, **setting)


def _decode(
    bench: Bench, sequences: int, context: int, heads: int, kv_heads: int, dim: int,
    cache: str = "", window: int = 0,
) -> Case:  # fmt: skip
    name = cache or bench.floats
    label = f"{heads}/{kv_heads}/{dim} {name} {sequences}x{context}"
    label += f" window {window}" if window else ""
    title = f"Paged decode, {label}"
    if name == "fp8" and not (bench.has_fp8 or bench.rehearsal):
        return skipped(_case(f"paged/{label}", title, 0.0, HOW), "this device has no fp8")
    mixer = Attention(num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=dim)
    pool = make_pool(bench, mixer, 1, sequences, context, 16, name)
    pool.lengths -= torch.arange(sequences, device=bench.device, dtype=torch.int32)
    q = bench.random(sequences, heads, dim, dtype=DTYPES[bench.floats])
    assert pool.values is not None
    arguments = (q, pool.keys[0], pool.values[0], pool.table, pool.lengths)
    options: dict[str, Any] = {"window_size": (window - 1 if window else -1, 0)}
    out = tensor_of(paged_decode_attention(*arguments, **options))
    exact, _ = paged_decode_reference(*arguments, **options)
    plain = _plain_decode(arguments, options)
    case = _case(f"paged/{label}", title, FACTOR * relative_error(plain, exact), HOW)
    return measured(case, [relative_error(out, exact)])


def _plain_decode(arguments: Any, options: Any) -> torch.Tensor:
    """The same by naive attention in 16 bits, one sequence at a time."""
    q, keys, values, table, lengths = arguments
    found = []
    for row, length in enumerate(lengths.tolist()):
        position = torch.arange(length, device=q.device)
        page, slot = table[row, position // 16].long(), position % 16
        k, v = (t[page, slot].to(q.dtype)[None] for t in (keys, values))
        found.append(naive_attention(q[row][None, None], k, v, **options)[0, 0])
    return torch.stack(found)


def mla_cases(bench: Bench, settings: list[dict[str, Any]]) -> Iterator[Case]:
    """settings: sequences, context, heads, rank, rope."""
    for setting in settings:
        yield _mla(bench, **setting)


def _mla(bench: Bench, sequences: int, context: int, heads: int, rank: int, rope: int) -> Case:
    mixer = LatentAttention(
        num_attention_heads=heads, q_lora_rank=None, kv_lora_rank=rank, qk_nope_head_dim=128,
        qk_rope_head_dim=rope, v_head_dim=128,
    )  # fmt: skip
    pool = make_pool(bench, mixer, 1, sequences, context, 16, bench.floats)
    dtype = DTYPES[bench.floats]
    q, turned = (bench.random(sequences, heads, n, dtype=dtype) for n in (rank, rope))
    latent = pool.keys[0].squeeze(2)
    arguments = (q, turned, latent, pool.table, pool.lengths)
    scale = (128 + rope) ** -0.5
    out = tensor_of(mla_decode_attention(*arguments, softmax_scale=scale))
    exact, _ = mla_decode_reference(*arguments, softmax_scale=scale)
    whole = torch.cat([q, turned], dim=-1)
    plain = []
    for row in range(sequences):
        own = latent[pool.table[row].long()].flatten(0, 1)[:context, None]  # [context, 1, width]
        plain.append(naive_attention(
            whole[row][None, None], own[None], own[None, ..., :rank], softmax_scale=scale
        )[0, 0])  # fmt: skip
    bound = FACTOR * relative_error(torch.stack(plain), exact)
    label = f"{heads} heads, {sequences}x{context}"
    case = _case(f"mla/{heads}-{sequences}x{context}", f"MLA decode, {label}", bound, HOW)
    return measured(case, [relative_error(out, exact)])


def store_cases(
    bench: Bench, tokens: int, kv_heads: int, dim: int, formats: list[str]
) -> Iterator[Case]:
    """New tokens in the cache: the same bits as plain PyTorch writes."""
    for name in formats:
        case = _case(f"store/{name}", f"Cache store in {name}", 0.0, "the bits PyTorch writes")
        if name == "fp8" and not (bench.has_fp8 or bench.rehearsal):
            yield skipped(case, "this device has no fp8")
            continue
        source = bench.random(tokens, kv_heads, dim, dtype=DTYPES[bench.floats])
        blocks = tokens // 16 + 2
        shape = (blocks, 16, kv_heads, dim)
        ours, theirs = (
            torch.zeros(shape, dtype=DTYPES[name], device=bench.device) for _ in range(2)
        )
        slots = torch.randperm(blocks * 16, device=bench.device)[:tokens]
        store_kv(source, ours, slots)
        store_kv_reference(source, theirs, slots)
        yield measured(case, [relative_error(ours.float(), theirs.float())])
