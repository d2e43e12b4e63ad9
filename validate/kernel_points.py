"""How long each kernel takes at a ladder of sizes: the points that predictions interpolate.

Shapes are round numbers and no model's own, so that what is later predicted was not measured here.
Each rung's ideal time comes from the same `Work` that `step_costs` would count for it.
"""

from collections.abc import Callable, Iterator
from statistics import median

import torch

from kernels.flash import flash_attention
from kernels.mla_decode import mla_decode_attention
from kernels.paged_decode import paged_decode_attention
from planner.attention import Heads
from planner.attention import flops as attention_flops
from planner.calibration import Bound, KernelPoint
from planner.kinds.attention import Attention, LatentAttention
from planner.timing.attention_costs import group_word
from planner.timing.roofline import Work, ideal_s
from validate.bench import DTYPES, Bench
from validate.kv_pool import make_pool
from validate.layer_kernels import (
    grouped_matmul,
    matmul,
    route,
)
from validate.record import Case, measured
from validate.small_kernels import small_kernels
from validate.timing import SUSTAINED_S, WARM_S, Run, eager_s, graph_s

HOST_TOKENS = 4096
"""Prompts up to here are replayed: launching takes the host longer than the card computes."""
Rung = tuple[Work, list[Run], bool]
"""What is counted, calls over different data that do it, whether it is short enough to replay."""


def kernel_cases(
    bench: Bench, kernel: str, sizes: list[tuple[int, ...]], **options: str
) -> Iterator[Case]:
    """The ladder of one kernel: a case and a calibration point for each size."""
    ladder: Callable[..., Iterator[Rung]] = LADDERS[kernel]
    for work, runs, replay in ladder(bench, sizes, **options):
        roofs = bench.roofs
        assert roofs is not None
        ideal, bound = ideal_s(work, roofs)
        case = Case(
            f"kernels/{work.kernel}/{work.variant}/{bound}/{_size(work)}".replace(" ", "-"),
            "kernels", f"{work.part}: {_size(work)}", "s", "roofs of this card", ideal,
            details={
                "kernel": work.kernel, "variant": work.variant, "bound": bound,
                "flops": work.flops, "bytes": work.bytes,
            },
        )  # fmt: skip
        seconds = timed(bench, runs, replay, bound)
        case = measured(case, seconds, judge=False)
        assert case.measured is not None
        bench.add_point(
            KernelPoint(
                kernel=work.kernel, variant=work.variant, bound=bound, ideal_s=ideal,
                measured_s=median(seconds),
            )
        )  # fmt: skip
        yield case
    bench.free_memory()


def timed(bench: Bench, runs: list[Run], replay: bool, bound: Bound) -> list[float]:
    """Seconds of one call, at the clock that work of this kind keeps."""
    if replay:
        return graph_s(bench, runs, warm_s=SUSTAINED_S if bound == "compute" else WARM_S)
    return eager_s(bench, runs[0], warm_s=SUSTAINED_S if bound == "compute" else WARM_S)


def _size(work: Work) -> str:
    if work.flops and work.flops > 200 * work.bytes:
        return f"{work.flops / 1e9:.4g} GFLOP"
    return f"{work.bytes / 1e6:.4g} MB"


def copies(bench: Bench, size: int) -> int:
    """How many copies of `size` bytes make a replay read several times the L2 cache."""
    return 1 if bench.rehearsal else max(2, min(64, -(-400_000_000 // max(1, size))))


def _matmul(bench: Bench, sizes: list[tuple[int, ...]], numbers: str = "") -> Iterator[Rung]:
    """(tokens, out, in): projections, a few tokens (decode) or many (prefill)."""
    numbers = numbers or bench.floats
    dtype = DTYPES[numbers]
    scale = torch.ones((), device=bench.device)
    for rows, out, width in sizes:
        weight_bytes = out * width * dtype.itemsize
        work = Work(
            "matmul", numbers, f"matmul {rows} x {width} by {out}", 1, numbers,
            2 * rows * out * width, weight_bytes, activation_bytes=2 * rows * (out + width),
        )  # fmt: skip
        n = copies(bench, weight_bytes) if rows <= 512 else 1
        weights = [bench.random(out, width, dtype=dtype, scale=0.02) for _ in range(n)]
        x = bench.random(rows, width, dtype=DTYPES[bench.floats])
        yield work, [lambda w=w, x=x: matmul(x, w, scale) for w in weights], rows <= 512  # type: ignore[misc]


def _grouped(bench: Bench, sizes: list[tuple[int, ...]]) -> Iterator[Rung]:
    """(rows per expert, experts, out, in): every expert at work, as with many tokens."""
    dtype = DTYPES[bench.floats]
    for each, experts, out, width in sizes:
        rows = each * experts
        stored = experts * out * width * dtype.itemsize
        work = Work(
            "grouped_matmul", bench.floats, f"{experts} experts {width} to {out}, {rows} rows", 1,
            bench.floats, 2 * rows * out * width, stored, activation_bytes=2 * rows * (out + width),
        )  # fmt: skip
        n = copies(bench, stored)
        weights = [bench.random(experts, out, width, dtype=dtype, scale=0.02) for _ in range(n)]
        x = bench.random(rows, width, dtype=dtype)
        cuts = torch.rand(rows, device=bench.device).mul(experts).int().sort().values
        wanted = torch.arange(experts, device=bench.device, dtype=torch.int32)
        ends = torch.searchsorted(cuts, wanted, right=True, out_int32=True)
        yield work, [lambda w=w, x=x, e=ends: grouped_matmul(x, w, e) for w in weights], each <= 64  # type: ignore[misc]


def _flash(
    bench: Bench, sizes: list[tuple[int, ...]], window: str = "", value_dim: str = ""
) -> Iterator[Rung]:
    """(tokens, heads, KV heads, dim): causal prefill of one sequence."""
    dtype = DTYPES[bench.floats]
    limit = int(window) if window else None
    for tokens, heads, kv_heads, dim in sizes:
        wide = int(value_dim) if value_dim else dim
        shape = Heads(heads, kv_heads, dim, wide, limit)
        variant = f"d{dim}" + (f"/{wide}" if wide != dim else "") + (" window" if limit else "")
        work = Work(
            "flash_attention", variant, f"prefill attention of {tokens} tokens", 1, bench.floats,
            attention_flops(shape, tokens, tokens), kv_bytes=2 * tokens * kv_heads * (dim + wide),
            activation_bytes=2 * tokens * heads * (dim + wide),
        )  # fmt: skip
        q = bench.random(1, tokens, heads, dim, dtype=dtype)
        k = bench.random(1, tokens, kv_heads, dim, dtype=dtype)
        v = bench.random(1, tokens, kv_heads, wide, dtype=dtype)
        run = _flash_run(q, k, v, -1 if limit is None else limit - 1)
        short = tokens <= HOST_TOKENS
        yield work, [run] * (8 if short and not bench.rehearsal else 1), short


def _flash_run(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, left: int) -> Run:
    return lambda: flash_attention(q, k, v, window_size=(left, 0))


def _paged(
    bench: Bench, sizes: list[tuple[int, ...]], cache: str = "", window: str = ""
) -> Iterator[Rung]:
    """(sequences, context, heads, KV heads, dim): one decode step of one layer."""
    dtype = DTYPES[bench.floats]
    cache = cache or bench.floats
    limit = int(window) if window else None
    for sequences, context, heads, kv_heads, dim in sizes:
        mixer = Attention(
            num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=dim, window=limit
        )
        reach = min(context, limit or context)
        kv_bytes = sequences * reach * kv_heads * 2 * dim * DTYPES[cache].itemsize
        work = Work(
            "paged_decode",
            f"d{dim} {cache}" + group_word(heads, kv_heads) + (" window" if limit else ""),
            f"decode attention of {sequences} x {reach} tokens", 1, bench.floats,
            4 * sequences * reach * heads * dim, kv_bytes=kv_bytes,
            activation_bytes=4 * sequences * heads * dim,
        )  # fmt: skip
        n = copies(bench, kv_bytes)
        pool = make_pool(bench, mixer, n, sequences, context, 16, cache)
        q = bench.random(sequences, heads, dim, dtype=dtype)
        left = -1 if limit is None else limit - 1
        yield work, [_paged_run(pool, q, i, left) for i in range(n)], True


def _paged_run(pool, q: torch.Tensor, index: int, left: int) -> Run:  # type: ignore[no-untyped-def]
    return lambda: paged_decode_attention(
        q, pool.keys[index], pool.values[index], pool.table, pool.lengths, window_size=(left, 0)
    )


def _mla(bench: Bench, sizes: list[tuple[int, ...]], cache: str = "") -> Iterator[Rung]:
    """(sequences, context, heads, rank, rope): one decode step of one layer over latents."""
    dtype = DTYPES[bench.floats]
    cache = cache or bench.floats
    for sequences, context, heads, rank, rope in sizes:
        mixer = LatentAttention(
            num_attention_heads=heads, q_lora_rank=None, kv_lora_rank=rank, qk_nope_head_dim=128,
            qk_rope_head_dim=rope, v_head_dim=128,
        )  # fmt: skip
        width = rank + rope
        kv_bytes = sequences * context * width * DTYPES[cache].itemsize
        work = Work(
            "mla_decode", f"h{heads} {cache}", f"MLA decode of {sequences} x {context} tokens", 1,
            bench.floats, 2 * sequences * context * heads * (width + rank), kv_bytes=kv_bytes,
            activation_bytes=2 * sequences * heads * (width + rank),
        )  # fmt: skip
        n = copies(bench, kv_bytes)
        pool = make_pool(bench, mixer, n, sequences, context, 16, cache)
        q = bench.random(sequences, heads, rank, dtype=dtype)
        turned = bench.random(sequences, heads, rope, dtype=dtype)
        yield work, [_mla_run(pool, q, turned, i) for i in range(n)], True


def _mla_run(pool, q: torch.Tensor, turned: torch.Tensor, index: int) -> Run:  # type: ignore[no-untyped-def]
    return lambda: mla_decode_attention(
        q, turned, pool.keys[index].squeeze(2), pool.table, pool.lengths, softmax_scale=192**-0.5
    )


def _elementwise(bench: Bench, sizes: list[tuple[int, ...]]) -> Iterator[Rung]:
    """(tokens, width): every small kernel of a layer at that many tokens."""
    for tokens, width in sizes:
        for small in small_kernels(bench, tokens, width):
            work = Work(
                "elementwise", small.name, f"{small.name} of {tokens} tokens", 1, bench.floats,
                activation_bytes=2 * small.elements,
            )  # fmt: skip
            yield work, [small.run] * (1 if bench.rehearsal else 10), True


def _routing(bench: Bench, sizes: list[tuple[int, ...]]) -> Iterator[Rung]:
    """(tokens, experts, top_k): sorting tokens by expert."""
    for tokens, experts, top_k in sizes:
        logits = bench.random(tokens, experts, dtype=DTYPES[bench.floats])
        chosen = torch.rand(tokens, experts, device=bench.device).topk(top_k, dim=1).indices
        work = Work(
            "routing", "int64", f"routing of {tokens} tokens to {top_k} of {experts}", 1,
            bench.floats, activation_bytes=8 * tokens * top_k,
        )  # fmt: skip
        n = 1 if bench.rehearsal else 4
        yield work, [lambda a=logits, c=chosen: route(a, c)] * n, True  # type: ignore[misc]


LADDERS: dict[str, Callable[..., Iterator[Rung]]] = {
    "matmul": _matmul,
    "grouped_matmul": _grouped,
    "flash_attention": _flash,
    "paged_decode": _paged,
    "mla_decode": _mla,
    "elementwise": _elementwise,
    "routing": _routing,
}
