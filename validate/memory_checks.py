"""Bytes of single tensors and calls: predicted by the planner, rounded as the allocator rounds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

from kernels.flash import flash_attention
from kernels.kv_cache import PagedKVCache
from kernels.naive import naive_attention
from kernels.paged_decode import paged_decode_attention
from planner import attention
from planner.formats.dtypes import kv_format
from planner.kinds.attention import Attention, LatentAttention
from planner.kv_cache import cache_terms, entry_bytes
from planner.model import LayerGroup
from planner.overheads import block_table_bytes
from planner.units import ceil_div
from validate.allocator import Allocator, allocated_bytes
from validate.bench import DTYPES, Bench
from validate.kv_pool import block_table, make_pool
from validate.memory_meter import meter
from validate.record import Case, measured, skipped

TOLERANCE = 0.001
BLOCK_SIZE = 16
Mixer = Attention | LatentAttention


@dataclass(frozen=True)
class Shape:
    """An attention kind by name, with its heads; kv_heads 0: MLA."""

    name: str
    heads: int
    kv_heads: int
    head_dim: int

    def mixer(self) -> Mixer:
        if self.kv_heads:
            return Attention(
                num_attention_heads=self.heads,
                num_key_value_heads=self.kv_heads,
                head_dim=self.head_dim,
            )
        return LatentAttention(
            num_attention_heads=self.heads, q_lora_rank=None, kv_lora_rank=512,
            qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128,
        )  # fmt: skip


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("MHA", 32, 32, 128),
        Shape("GQA", 32, 8, 128),
        Shape("MQA", 16, 1, 256),
        Shape("MLA", 16, 0, 0),
        Shape("tiny GQA", 4, 2, 64),
    )
}


def pool_cases(
    bench: Bench, shapes: Iterable[str], formats: Iterable[str], sizes: list[list[int]], layers: int
) -> Iterator[Case]:
    """The paged pool and its block table for contexts x batches; sizes: [context, sequences]."""
    for name in shapes:
        mixer = SHAPES[name].mixer()
        for fmt in formats:
            for context, sequences in sizes:
                yield _pool(bench, name, mixer, fmt, context, sequences, layers)
                yield _table(bench, name, fmt, context, sequences)


def _pool(
    bench: Bench, name: str, mixer: Mixer, fmt: str, context: int, sequences: int, layers: int
) -> Case:
    group = LayerGroup(layers=tuple(range(layers)), mixers=(mixer,))
    cache = kv_format(fmt)
    total = sequences * sum(
        term.paged_bytes(context, BLOCK_SIZE) for term in cache_terms([(group, layers)], cache)
    )
    padded = ceil_div(context, BLOCK_SIZE) * BLOCK_SIZE * sequences
    assert total == sum(layers * padded * entry_bytes(tensor, cache) for tensor in mixer.cache())
    case = Case(
        f"memory/pool/{name}-{fmt}-{context}x{sequences}".replace(" ", "-"), "memory",
        f"Paged pool, {name} {fmt}, {sequences} x {context:,} tokens, {layers} layers", "bytes",
        "planner.kv_cache, blocks, allocator rounding", allocated_bytes(total),
        tolerance=TOLERANCE, details={"exact_bytes": total, "kind": "pool"},
    )  # fmt: skip
    heads = mixer.cache()[0].heads
    with meter(bench) as found:
        pool = PagedKVCache(
            num_blocks=padded // BLOCK_SIZE, block_size=BLOCK_SIZE, kv_heads=heads,
            head_dim=mixer.cache()[0].width, num_layers=layers, dtype=DTYPES[fmt],
            head_dim_v=mixer.cache()[1].width if len(mixer.cache()) > 1 else 0,
            device=bench.device,
        )  # fmt: skip
    del pool
    return measured(case, [found.held_bytes])


def _table(bench: Bench, name: str, fmt: str, context: int, sequences: int) -> Case:
    own = ceil_div(context, BLOCK_SIZE)
    size = block_table_bytes(sequences, context, BLOCK_SIZE)
    case = Case(
        f"memory/table/{name}-{fmt}-{context}x{sequences}".replace(" ", "-"), "memory",
        f"Block table, {sequences} x {context:,} tokens", "bytes",
        "planner.overheads.block_table_bytes, allocator rounding", allocated_bytes(size),
        tolerance=TOLERANCE, details={"exact_bytes": size, "kind": "table"},
    )  # fmt: skip
    with meter(bench) as found:
        table = block_table(bench, sequences, own, own)
    del table
    return measured(case, [found.held_bytes])


def _meter_peak(bench: Bench, run: Callable[[], object]) -> int:
    run()
    with meter(bench) as found:
        run()
    return found.peak_bytes


def naive_cases(bench: Bench, shapes: Iterable[str], tokens: list[int]) -> Iterator[Case]:
    """Materialised scores: two matrices, the expanded keys and values, the output, the mask."""
    dtype = DTYPES[bench.floats]
    for name in shapes:
        shape = SHAPES[name]
        heads = attention.heads_of(shape.mixer())
        for n in tokens:
            scores = attention.score_matrix_bytes(heads, n, n)
            operand = 2 * n * shape.heads * shape.head_dim
            predicted = allocated_bytes(operand, operand, scores, n * n, scores, operand)
            case = Case(
                f"memory/naive/{name}-{n}".replace(" ", "-"), "memory",
                f"Naive attention, {name}, {n:,} tokens", "bytes",
                "two planner.attention.score_matrix_bytes, K, V and output for all heads, the mask",
                predicted, tolerance=TOLERANCE,
                details={"kind": "naive", "tokens": n, "exact_bytes": 2 * scores},
            )  # fmt: skip
            q = bench.random(1, n, shape.heads, shape.head_dim, dtype=dtype)
            k, v = (bench.random(1, n, shape.kv_heads, shape.head_dim, dtype=dtype) for _ in "kv")
            peak = _meter_peak(bench, lambda q=q, k=k, v=v: naive_attention(q, k, v))  # type: ignore[misc]
            yield measured(case, [peak])
            del q, k, v


def flash_cases(bench: Bench, shapes: Iterable[str], tokens: list[int]) -> Iterator[Case]:
    """Flash attention: the output and a log-sum-exp per query and head, and nothing else."""
    dtype = DTYPES[bench.floats]
    for name in shapes:
        shape = SHAPES[name]
        heads = attention.heads_of(shape.mixer())
        for n in tokens:
            out = 2 * n * shape.heads * shape.head_dim
            lse = attention.lse_bytes(heads, n)
            case = Case(
                f"memory/flash/{name}-{n}".replace(" ", "-"), "memory",
                f"Flash attention, {name}, {n:,} tokens", "bytes",
                "output and planner.attention.lse_bytes, allocator rounding",
                allocated_bytes(out, lse), tolerance=TOLERANCE,
                details={"kind": "flash", "tokens": n, "exact_bytes": lse},
            )  # fmt: skip
            q = bench.random(1, n, shape.heads, shape.head_dim, dtype=dtype)
            k, v = (bench.random(1, n, shape.kv_heads, shape.head_dim, dtype=dtype) for _ in "kv")
            yield measured(case, [_meter_peak(
                bench, lambda q=q, k=k, v=v: flash_attention(q, k, v, return_lse=True))])  # type: ignore[misc]  # fmt: skip
            del q, k, v


def split_cases(
    bench: Bench, shapes: Iterable[str], formats: Iterable[str], sizes: list[list[int]]
) -> Iterator[Case]:
    """Partial results of split-KV decoding, with as many splits as the planner says."""
    for name in shapes:
        shape = SHAPES[name]
        mixer = shape.mixer()
        assert isinstance(mixer, Attention)
        heads = attention.heads_of(mixer)
        for fmt in formats:
            for context, sequences in sizes:
                splits = attention.decode_splits(heads, sequences, context, bench.sm_count)
                rows = sequences * shape.heads
                partials = attention.split_kv_bytes(heads, sequences, splits)
                sums = 4 * rows * splits if splits > 1 else 0
                sizes_ = [2 * rows * shape.head_dim, 4 * rows, partials - sums, sums]
                case = Case(
                    f"memory/split/{name}-{fmt}-{context}x{sequences}".replace(" ", "-"), "memory",
                    f"Split-KV partials, {name} {fmt}, {sequences} x {context:,}, {splits} splits",
                    "bytes", "planner.attention.split_kv_bytes, output, log-sum-exp",
                    allocated_bytes(*sizes_), tolerance=TOLERANCE,
                    details={"kind": "split", "exact_bytes": partials, "splits": splits},
                )  # fmt: skip
                if fmt == "fp8" and not bench.has_fp8:
                    yield skipped(case, "this device has no fp8")
                    continue
                pool = make_pool(bench, mixer, 1, sequences, context, BLOCK_SIZE, fmt)
                q = bench.random(sequences, shape.heads, shape.head_dim, dtype=DTYPES[bench.floats])
                assert pool.values is not None

                def run(pool=pool, q=q, splits=splits):  # type: ignore[no-untyped-def]
                    return paged_decode_attention(
                        q, pool.keys[0], pool.values[0], pool.table, pool.lengths,
                        num_splits=splits,
                    )  # fmt: skip

                yield measured(case, [_meter_peak(bench, run)])
                del pool, q


def logits_cases(bench: Bench, sizes: list[list[int]]) -> Iterator[Case]:
    """Logits of a step in the model's dtype and in fp32, as a sampler reads them."""
    dtype = DTYPES[bench.floats]
    for sequences, vocab, hidden in sizes:
        x = bench.random(sequences, hidden, dtype=dtype)
        head = bench.random(vocab, hidden, dtype=dtype, scale=0.02)
        count = sequences * vocab
        case = Case(
            f"memory/logits/{sequences}x{vocab}", "memory",
            f"Logits of {sequences} sequences, {vocab:,} tokens in the vocabulary", "bytes",
            "2 and 4 B per logit, allocator rounding", allocated_bytes(2 * count, 4 * count),
            tolerance=TOLERANCE, details={"kind": "logits", "exact_bytes": 6 * count},
        )  # fmt: skip

        def run(x=x, head=head):  # type: ignore[no-untyped-def]
            logits = x @ head.t()
            return logits, logits.float()

        yield measured(case, [_meter_peak(bench, run)])
        del x, head


def allocator_cases(bench: Bench, requests: list[list[int]]) -> Iterator[Case]:
    """The rounding rules themselves: what the allocator reserves for a row of requests."""
    for sizes in requests:
        allocator = Allocator()
        for size in sizes:
            allocator.allocate(size)
        name = "+".join(map(str, sizes))
        case = Case(
            f"memory/allocator/{name}", "memory",
            f"Reserved for tensors of {', '.join(f'{s:,}' for s in sizes)} B", "bytes",
            "512 B, 2 MiB and 20 MiB rules", allocator.reserved_bytes, tolerance=0.0,
            details={"kind": "allocator", "exact_bytes": sum(sizes)},
        )  # fmt: skip
        if bench.rehearsal:
            yield skipped(case, "only a GPU has this allocator")
            continue
        bench.free_memory()
        pool = torch.cuda.MemPool()
        before = torch.cuda.memory_reserved(bench.device)
        with torch.cuda.use_mem_pool(pool):
            held = [torch.empty(s, dtype=torch.uint8, device=bench.device) for s in sizes]
        reserved = torch.cuda.memory_reserved(bench.device) - before
        del held, pool
        yield measured(case, [reserved])
