"""The questions backwards: longest context, most sequences, fewest GPUs, mildest quantisation.

Each answer is tight: it fits and the next does not. Memory never falls as context, concurrency or
precision grow, so a guess from the linear part is corrected by doubling and bisection.
"""

from collections.abc import Callable, Iterator
from itertools import count

from planner.deployment import Deployment
from planner.errors import PlanRefused, SizewellError
from planner.footprint import Footprint, footprint
from planner.formats.format_support import missing
from planner.hardware import Gpu
from planner.memory import total_bytes
from planner.model import Model
from planner.parallelism import cache_splits
from planner.workload import MAX_SEQUENCES, MAX_TOKENS, Workload, resized

WEIGHT_LADDER = ("bf16", "fp8", "nvfp4", "int4")
"""Weight formats from most bits per weight to fewest."""
KV_LADDER = ("bf16", "fp8", "int4_per_token_head")
"""Cache formats from most bits per element to fewest."""
WORTH_IT = 0.9
"""A format is offered only when it takes less than this share of today's weights."""
GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64)
LEAST_CHUNK = 2048
"""Tokens of a step below which prompts slow down: engines' own smallest default."""


JUMPS = 8


def largest(total: Callable[[int], int], budget: int, limit: int, start: int) -> int:
    """The largest n in 0..limit with total(n) <= budget, for a total that never falls.

    Jumps along the line through the last two points, which lands next to the answer when total is
    nearly straight; after JUMPS of them it halves what is left.
    """
    low, high = 0, limit + 1
    n = max(1, min(start, limit))
    last, last_size = 0, 0
    for tries in count():
        size = total(n)
        if size <= budget:
            low = n
        else:
            high = n
        if high - low <= 1:
            break
        slope = (size - last_size) // (n - last) if last and n != last else 0
        last, last_size = n, size
        if tries < JUMPS and slope > 0:
            n = min(max(n + (budget - size) // slope, low + 1), high - 1)
        elif high > limit:
            n = min(2 * n, limit)
        else:
            n = (low + high) // 2
    return low


def max_context_tokens(
    compiled: Footprint, memory_bytes: int, workload: Workload, *, limit: int = MAX_TOKENS
) -> int:
    """Longest context at this concurrency; `limit` where memory sets none, 0 where nothing fits.

    A shared prefix or prompt longer than the tried context is cut to it.
    """

    def total(context: int) -> int:
        return total_bytes(compiled, resized(workload, context, workload.concurrency))

    size = compiled.deployment.block_size
    blocks = largest(
        lambda n: total(n * size), memory_bytes, limit // size, workload.context // size
    )
    whole = blocks * size
    if whole >= limit or total(whole + 1) > memory_bytes:
        return whole
    return whole + largest(lambda n: total(whole + n), memory_bytes, min(size, limit - whole), 1)


def max_concurrency(
    compiled: Footprint, memory_bytes: int, workload: Workload, *, limit: int = MAX_SEQUENCES
) -> int:
    """Most sequences at this context, over all replicas."""
    replicas = compiled.deployment.data_parallel_size

    def total(per_replica: int) -> int:
        return total_bytes(compiled, resized(workload, workload.context, per_replica * replicas))

    start = max(1, workload.concurrency // replicas)
    return replicas * largest(total, memory_bytes, limit // replicas, start)


def deployments(model: Model, gpu: Gpu, base: Deployment) -> Iterator[tuple[Deployment, Footprint]]:
    """Variants of `base` on 1, 2, 4 ... GPUs that the model's shapes allow, fewest first.

    Tensor parallelism within a machine, pipeline stages across machines.
    """
    for gpus in GPU_COUNTS:
        for stages in (n for n in GPU_COUNTS if n <= gpus):
            if gpus // stages > gpu.joined_gpus:
                continue
            try:
                changed = base.replace(
                    tensor_parallel_size=gpus // stages,
                    pipeline_parallel_size=stages,
                    data_parallel_size=1,
                    decode_context_parallel_size=1,
                    context_parallel_size=1,
                )
                yield changed, footprint(model, gpu, changed)
            except PlanRefused:
                continue


def fewest_gpus(model: Model, gpu: Gpu, base: Deployment, workload: Workload) -> Deployment | None:
    """The smallest deployment on one kind of GPU that fits, None if none does."""
    for changed, compiled in deployments(model, gpu, base):
        if total_bytes(compiled, workload) <= gpu.memory_bytes:
            return changed
    return None


def mildest_weights(model: Model, gpu: Gpu, base: Deployment, workload: Workload) -> str | None:
    """The weight format of most bits that fits and is smaller than today's; None if none does."""
    now = footprint(model, gpu, base).stages[0].weights_bytes
    for name in WEIGHT_LADDER:
        compiled = _try(model, gpu, base.replace(weights_dtype=name))
        if compiled is None or compiled.stages[0].weights_bytes > WORTH_IT * now:
            continue
        if total_bytes(compiled, workload) <= gpu.memory_bytes:
            return name
    return None


def largest_chunk(model: Model, gpu: Gpu, base: Deployment, workload: Workload) -> int | None:
    """The most tokens of a step, by halving today's, with which it fits; None if none does."""
    tokens = base.max_num_batched_tokens // 2
    while tokens >= LEAST_CHUNK:
        compiled = footprint(model, gpu, base.replace(max_num_batched_tokens=tokens))
        if total_bytes(compiled, workload) <= gpu.memory_bytes:
            return tokens
        tokens //= 2
    return None


def fewest_cache_parts(
    model: Model, gpu: Gpu, base: Deployment, workload: Workload
) -> Deployment | None:
    """The least decode context parallelism that fits; None if copies of the cache are not why."""
    for changed in cache_splits(model, base):
        compiled = _try(model, gpu, changed)
        if compiled is not None and total_bytes(compiled, workload) <= gpu.memory_bytes:
            return changed
    return None


def mildest_kv_cache(model: Model, gpu: Gpu, base: Deployment, workload: Workload) -> str | None:
    """The cache format of most bits that fits and is smaller than today's; None if none does."""
    now = total_bytes(footprint(model, gpu, base), workload)
    for name in KV_LADDER:
        compiled = _try(model, gpu, base.replace(kv_cache_dtype=name))
        if compiled is None:
            continue
        size = total_bytes(compiled, workload)
        if size < now and size <= gpu.memory_bytes:
            return name
    return None


def _try(model: Model, gpu: Gpu, deployment: Deployment) -> Footprint | None:
    """None where shapes or formats do not suit the model, or the card has no kernels for them."""
    try:
        found = footprint(model, gpu, deployment)
    except SizewellError:
        return None
    formats = found.assignment.bytes_by_format()
    return found if missing(gpu, formats, found.kv_format.name) is None else None
