"""The kernels between matmuls and attention, each with what one call of it moves."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from kernels.kv_store import store_kv
from validate.bench import DTYPES, Bench
from validate.layer_kernels import activate, add_rms_norm, norm_rope, rope_table, sum_experts
from validate.timing import Run


@dataclass(frozen=True)
class Small:
    """A kernel that only moves data: elements it moves and one call of it."""

    name: str
    elements: int
    run: Run


def small_kernels(bench: Bench, tokens: int, width: int) -> Iterator[Small]:
    dtype, device = DTYPES[bench.floats], bench.device
    dim, top_k = 128, 4
    heads = width // dim
    x, other = (bench.random(tokens, width, dtype=dtype) for _ in range(2))
    gain = torch.ones(width, dtype=dtype, device=device)
    yield Small("norm", 4 * tokens * width, lambda: add_rms_norm(x, other, gain))
    positions = torch.arange(tokens, dtype=torch.int32, device=device)
    table = rope_table(tokens, dim, device)
    split = x.unflatten(1, (heads, dim))
    yield Small("rope", 2 * tokens * width, lambda: norm_rope(split, positions, table))
    cache = bench.empty(tokens // 16 + 1, 16, heads, dim, dtype=dtype)
    slots = torch.randperm(tokens, device=device)
    yield Small("store cache", 2 * tokens * width, lambda: store_kv(split, cache, slots))
    both = bench.random(tokens, 2 * width, dtype=dtype)
    yield Small("activation", 3 * tokens * width, lambda: activate(both))
    yield Small("expert activation", 3 * tokens * width, lambda: activate(both))
    yield Small("join keys", 2 * tokens * width, lambda: torch.cat([x, other], dim=-1))
    yield Small("join heads", 2 * tokens * width, lambda: split.transpose(0, 1).contiguous())
    source = torch.randint(0, tokens, (tokens,), device=device)
    yield Small("gather tokens", 2 * tokens * width, lambda: x[source])
    yield Small("embedding", 2 * tokens * width, lambda: other[source])
    place = torch.randint(0, tokens, (tokens // top_k, top_k), device=device)
    share = torch.rand(tokens // top_k, top_k, device=device).to(dtype)
    moved = (tokens + tokens // top_k) * width
    yield Small("sum experts", moved, lambda: sum_experts(x, place, share))
    logits = x.view(min(tokens, 64), -1)
    yield Small("sample", 5 * tokens * width, lambda: logits.float().argmax(dim=-1))
