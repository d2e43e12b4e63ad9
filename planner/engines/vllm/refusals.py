"""Where vLLM stops before it serves, other than for a cache that is too small."""

from planner.engines.links import linked
from planner.engines.vllm.options import Settings
from planner.engines.vllm.overheads import packed_warm_up
from planner.estimate import Estimate
from planner.hardware import Gpu
from planner.model import Model
from planner.units import GIB, MIB

FP32 = 4


def before_start(gpu: Gpu, budget: int, before: Estimate, settings: Settings) -> str | None:
    """The budget must be free when the engine first looks; its own context is in use by then."""
    free = gpu.memory_bytes - before.low_bytes
    if budget <= free:
        return None
    return (
        f"Free memory on device ({free / GIB:.2f}/{gpu.memory_bytes / GIB:.2f} GiB) on startup is "
        "less than desired GPU memory utilization "
        f"({settings.gpu_memory_utilization}, {budget / GIB:.2f} GiB). Decrease GPU memory "
        "utilization or reduce GPU memory used by other processes."
    )


def cache_beyond_memory(gpu: Gpu, spent: int, cache: int) -> str | None:
    """A cache of kv_cache_memory_bytes must fit beside what is spent otherwise, at the least.

    vLLM then neither measures nor compares: it allocates the pool, and takes what a full batch
    works in again when one comes (gpu_worker.determine_available_memory of 0.22.0 and 0.33.0).
    """
    room = gpu.memory_bytes - spent
    if cache <= room:
        return None
    return (
        f"CUDA out of memory: kv_cache_memory_bytes asks for {cache / GIB:.2f} GiB, and at most "
        f"{max(0, room) / GIB:.2f} GiB are left beside weights, activation and CUDA graphs, which "
        "vLLM does not check. Lower kv_cache_memory_bytes."
    )


def in_warm_up(
    gpu: Gpu,
    held: int,
    before: Estimate,
    graphs: Estimate | None,
    model: Model,
    settings: Settings,
    *,
    packed: bool,
    ranks: int,
    tensor_parallel_size: int,
) -> str | None:
    """held: the engine's budget, or what it spends with a cache of kv_cache_memory_bytes, which
    respects no budget. graphs: those captured outside of that, which must fit beside it; logs
    before 0.17 do not tell by how much.

    The first runner then warms the sampler up with max_num_seqs rows, for which one fp32 copy of
    the logits must still fit: gpt-oss-20b at utilisation 0.95 on one and on two H100s (0.19.0)
    asked for 786 MiB and failed, on four it started; at 0.90 it works. The second (outside from
    0.22 to 0.28; vllm#49224) runs two small requests instead (v1/worker/gpu_worker.py). What
    communicators take is read on linked cards; others are taken at the least that was seen.
    """
    if graphs is None or not settings.rules.since(17):
        return None
    known = ranks == 1 or linked(gpu, ranks)
    used = (before.bytes if known else before.low_bytes) + held + graphs.bytes
    if settings.rules.graphs_in_budget:
        if used <= gpu.memory_bytes:
            return None
        return (
            f"CUDA out of memory when capturing CUDA graphs: about {graphs.bytes / GIB:.2f} GiB of "
            f"them lie outside the budget of {held / GIB:.2f} GiB, which vLLM "
            f"{settings.rules.name} does not see. Lower gpu_memory_utilization."
        )
    if packed:
        used += packed_warm_up(tensor_parallel_size)
    logits = FP32 * settings.max_num_seqs * model.vocab_size
    free = gpu.memory_bytes - used
    if logits <= free:
        return None
    return (
        f"CUDA out of memory. Tried to allocate {logits / MIB:.2f} MiB with about "
        f"{max(0, free) / MIB:.0f} MiB free, when warming up sampler with {settings.max_num_seqs} "
        "dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when "
        "initializing the engine."
    )
