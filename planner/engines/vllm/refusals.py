"""Where vLLM stops before it serves, other than for a cache that is too small."""

from planner.engines.vllm.options import Settings
from planner.engines.vllm.overheads import PACKED_WARM_UP_GIB
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


def in_warm_up(
    gpu: Gpu,
    budget: int,
    before: Estimate,
    graphs: Estimate | None,
    model: Model,
    settings: Settings,
    *,
    packed: bool,
    gpus: int,
) -> str | None:
    """The sampler warms up with max_num_seqs rows after graphs were captured outside the budget.

    One fp32 copy of the logits must still fit: gpt-oss-20b at utilisation 0.95 on one and on two
    H100s (0.19.0) asked for 786 MiB and failed; at 0.90 it works. From 0.20 graphs are inside, and
    logs before 0.17 do not tell. Communicators differ between machines, so several GPUs are taken
    at the least that was seen.
    """
    if settings.rules.graphs_in_budget or not settings.rules.since(17) or graphs is None:
        return None
    logits = FP32 * settings.max_num_seqs * model.vocab_size
    used = (before.low_bytes if gpus > 1 else before.bytes) + budget + graphs.bytes
    if packed:
        used += int(PACKED_WARM_UP_GIB * GIB)
    free = gpu.memory_bytes - used
    if logits <= free:
        return None
    return (
        f"CUDA out of memory. Tried to allocate {logits / MIB:.2f} MiB with about "
        f"{max(0, free) / MIB:.0f} MiB free, when warming up sampler with {settings.max_num_seqs} "
        "dummy requests. Please try lowering `max_num_seqs` or `gpu_memory_utilization` when "
        "initializing the engine."
    )
