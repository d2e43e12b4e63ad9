"""The questions backwards: longest context, most sequences, fewest GPUs, mildest quantisation.

Each answer is tight: it fits and the next does not. Memory never falls as context, concurrency or
precision grow, so a guess from the linear part is corrected by doubling and bisection.
"""

from collections.abc import Callable, Iterable, Iterator

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.footprint import Footprint, footprint
from planner.hardware import Gpu
from planner.memory import total_bytes
from planner.model import Model
from planner.workload import MAX_SEQUENCES, MAX_TOKENS, Workload

WEIGHT_LADDER = ("bf16", "fp8", "int8", "nvfp4", "int4")
"""Weight formats from mild to strong, as measured by bits per weight."""
KV_LADDER = ("auto", "fp8", "int4_per_token_head")
"""Cache formats from mild to strong."""
TENSOR_PARALLEL_SIZES = (1, 2, 4, 8, 16, 32, 64)


def largest(fits: Callable[[int], bool], limit: int, guess: int = 1) -> int:
    """The largest n in 0..limit that fits, where everything below a fitting n fits.

    Starts at `guess` and widens by doubling, so a good guess costs two calls.
    """
    guess = min(max(guess, 1), limit)
    step = 1
    if fits(guess):
        low = guess
        while True:
            if low == limit:
                return limit
            high = min(low + step, limit)
            if not fits(high):
                break
            low, step = high, step * 2
    else:
        high = guess
        while True:
            if high == 1:
                return 0
            low = max(high - step, 1)
            if fits(low):
                break
            high, step = low, step * 2
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low


def max_context_tokens(
    compiled: Footprint, memory_bytes: int, workload: Workload, *, limit: int = MAX_TOKENS
) -> int:
    """Longest context at this concurrency; `limit` where memory sets none, 0 where nothing fits.

    A shared prefix or prompt longer than the tried context is cut to it.
    """

    def at(context: int) -> Workload:
        return _with(workload, context, workload.concurrency)

    guess = _guess(lambda n: total_bytes(compiled, at(n)), memory_bytes, workload.context, limit)
    return largest(lambda n: total_bytes(compiled, at(n)) <= memory_bytes, limit, guess)


def max_concurrency(
    compiled: Footprint, memory_bytes: int, workload: Workload, *, limit: int = MAX_SEQUENCES
) -> int:
    """Most sequences at this context, over all replicas."""
    replicas = compiled.deployment.data_parallel_size

    def total(per_replica: int) -> int:
        return total_bytes(compiled, _with(workload, workload.context, per_replica * replicas))

    most = limit // replicas
    now = max(1, workload.concurrency // replicas)
    guess = _guess(total, memory_bytes, now, most)
    return replicas * largest(lambda n: total(n) <= memory_bytes, most, guess)


def _with(workload: Workload, context: int, concurrency: int) -> Workload:
    """A workload of other size; validation is skipped because the parts are cut to fit."""
    if workload.shared_prefix_tokens or workload.prompt_tokens:
        return Workload(
            context=context,
            concurrency=concurrency,
            shared_prefix_tokens=min(workload.shared_prefix_tokens, context),
            beam_width=workload.beam_width,
            prompt_tokens=min(workload.prompt_tokens or 0, context),
        )
    return Workload.model_construct(
        context=context,
        concurrency=concurrency,
        shared_prefix_tokens=0,
        beam_width=workload.beam_width,
        prompt_tokens=None,
    )


def _guess(total: Callable[[int], int], memory_bytes: int, at: int, limit: int) -> int:
    """Where the straight line through `at` and twice that would meet the memory."""
    far = min(2 * at, limit)
    here, there = total(at), total(far)
    if there <= here:
        return limit if here <= memory_bytes else 1
    return at + (memory_bytes - here) * (far - at) // (there - here)


def deployments(
    model: Model, gpu: Gpu, base: Deployment, sizes: Iterable[int] = TENSOR_PARALLEL_SIZES
) -> Iterator[tuple[Deployment, Footprint]]:
    """Tensor-parallel variants of `base` that the model's shapes allow, smallest first."""
    for size in sizes:
        try:
            changed = base.replace(
                tensor_parallel_size=size,
                data_parallel_size=1,
                pipeline_parallel_size=1,
                decode_context_parallel_size=1,
            )
            yield changed, footprint(model, gpu, changed)
        except PlanRefused:
            continue


def fewest_gpus(model: Model, gpu: Gpu, base: Deployment, workload: Workload) -> Deployment | None:
    """The smallest tensor-parallel deployment on one kind of GPU that fits, None if none does."""
    for changed, compiled in deployments(model, gpu, base):
        if total_bytes(compiled, workload) <= gpu.memory_bytes:
            return changed
    return None


def mildest_weights(model: Model, gpu: Gpu, base: Deployment, workload: Workload) -> str | None:
    """The first rung of the weight ladder that fits, None if none does."""
    return _first(WEIGHT_LADDER, "weights_dtype", model, gpu, base, workload)


def mildest_kv_cache(model: Model, gpu: Gpu, base: Deployment, workload: Workload) -> str | None:
    """The first rung of the cache ladder that fits, None if none does."""
    return _first(KV_LADDER, "kv_cache_dtype", model, gpu, base, workload)


def _first(
    ladder: tuple[str, ...],
    field: str,
    model: Model,
    gpu: Gpu,
    base: Deployment,
    workload: Workload,
) -> str | None:
    for rung in ladder:
        try:
            compiled = footprint(model, gpu, base.replace(**{field: rung}))
        except PlanRefused:
            continue
        if total_bytes(compiled, workload) <= gpu.memory_bytes:
            return rung
    return None
