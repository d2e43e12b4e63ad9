"""What paging and an fp8 cache are said to do, on this card: time and bytes of one decode step."""

from collections.abc import Iterator
from statistics import median

from kernels.naive import naive_attention
from planner.kinds.attention import Attention
from validate.bench import DTYPES, Bench
from validate.kernel_points import LADDERS, timed
from validate.kv_pool import make_pool
from validate.memory_meter import meter
from validate.record import Case, measured
from validate.timing import eager_s

HALF_TOLERANCE = 0.005
TIME_TOLERANCE = 0.15


def cache_claims(
    bench: Bench, sequences: int, context: int, heads: int, kv_heads: int, dim: int
) -> Iterator[Case]:
    """Paged against naive decoding, and the fp8 cache against one of 16 bits."""
    size = (sequences, context, heads, kv_heads, dim)
    title = f"{sequences} x {context:,} tokens"
    seconds, expected = {}, {}
    for cache in (bench.floats, "fp8"):
        roofs = bench.roofs
        assert roofs is not None
        for work, runs, replay in LADDERS["paged_decode"](bench, [size], cache=cache):
            seconds[cache] = median(timed(bench, runs, replay, "memory"))
            expected[cache] = bench.efficiencies.expected_s(work, roofs)
        bench.free_memory()
    naive = _naive_s(bench, size)
    yield measured(
        Case(
            "speed/claims/paged-time", "speed",
            f"Paged decode's time as a share of naive attention's over a contiguous cache, {title}",
            "x", "published: paged attention costs no time", 1.0, at_most=True,
            details={"naive_s": naive, "paged_s": seconds[bench.floats]},
        ), [seconds[bench.floats] / naive], judge=not bench.rehearsal,
    )  # fmt: skip
    yield measured(
        Case(
            "speed/claims/fp8-time", "speed",
            f"A decode step over an fp8 cache as a share of one over 16 bits, {title}", "x",
            "planner.timing.roofline with this card's roofs and kernel times",
            expected["fp8"] / expected[bench.floats], tolerance=TIME_TOLERANCE,
        ), [seconds["fp8"] / seconds[bench.floats]], judge=not bench.rehearsal,
    )  # fmt: skip
    pools = {cache: _pool_bytes(bench, size, cache) for cache in seconds}
    yield measured(
        Case(
            "speed/claims/fp8-bytes", "speed",
            f"An fp8 cache as a share of one of 16 bits, {title}", "x",
            "published: FP8 halves the cache", 0.5, tolerance=HALF_TOLERANCE,
            details={f"{cache}_bytes": held for cache, held in pools.items()},
        ), [pools["fp8"] / pools[bench.floats]],
    )  # fmt: skip


def _naive_s(bench: Bench, size: tuple[int, ...]) -> float:
    sequences, context, heads, kv_heads, dim = size
    dtype = DTYPES[bench.floats]
    q = bench.random(sequences, 1, heads, dim, dtype=dtype)
    k, v = (bench.random(sequences, context, kv_heads, dim, dtype=dtype) for _ in range(2))
    return median(eager_s(bench, lambda: naive_attention(q, k, v), samples=5))


def _pool_bytes(bench: Bench, size: tuple[int, ...], cache: str) -> int:
    sequences, context, heads, kv_heads, dim = size
    mixer = Attention(num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=dim)
    with meter(bench) as found:
        pool = make_pool(bench, mixer, 1, sequences, context, 16, cache, fill=False)
    del pool
    return found.held_bytes
