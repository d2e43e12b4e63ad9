"""What llama-server moves to the CPU where a model does not fit (--fit, its default).

    fitted(placement, ctx_size=8192, room_bytes=22 * GIB)   # a Placement that fits

It fills GPUs from the last block back, the output first. Of a model with experts it first leaves
all experts in CPU memory; if every block then has a GPU, it takes experts back from the first
block on. It may also take part of one more block's experts, which is left out here.
Source: llama.cpp of 2026 (common/fit.cpp); records: fits of Llama-3.1-8B Q4_0 on an RTX 2060 and of
Qwen3-30B-A3B F16 on an RTX 4090.
"""

from collections.abc import Callable
from functools import partial

from planner.capacity import largest
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.llama_cpp.placement import Placement


def is_fitted(options: LlamaCppOptions) -> bool:
    """Whether --fit may place the blocks: it leaves alone what -ngl or a flag for experts set."""
    return options.n_gpu_layers is None and not options.n_cpu_moe and not options.cpu_moe


def fitted(placement: Placement, ctx_size: int, room_bytes: int) -> Placement:
    """The placement that --fit chooses, with at most `room_bytes` on every GPU."""

    def most(place: Callable[[int], Placement], gpu: int, limit: int) -> int:
        def total(n: int) -> int:
            return place(n).total(gpu, ctx_size)

        return largest(total, room_bytes, limit, limit) if limit else 0

    blocks, gpus = len(placement.layers), range(placement.num_gpus)
    found = placement.laid([-1] * (blocks + 1), _experts(placement))
    for gpu in reversed(gpus):
        place = partial(_from_the_back, found, gpu)
        found = place(most(place, gpu, found.where.count(-1)))
    if not found.spilled or -1 in found.where:
        return found
    start = 0
    for gpu in gpus:
        place = partial(_with_experts, found, gpu, start)
        taken = most(place, gpu, blocks - start)
        found, start = place(taken), start + taken
    return found


def _experts(placement: Placement) -> list[int]:
    return [index for index, layer in enumerate(placement.layers) if layer.experts]


def _from_the_back(found: Placement, gpu: int, count: int) -> Placement:
    """The last `count` of what no GPU has yet, the output being the very last."""
    free = found.where.count(-1)
    where = [*found.where[: free - count], *[gpu] * count, *found.where[free:]]
    return found.laid(where, found.spilled)


def _with_experts(found: Placement, gpu: int, start: int, count: int) -> Placement:
    """`count` whole blocks from `start` on this GPU; those behind stay without their experts."""
    where = [*found.where[:start], *[gpu] * count, *found.where[start + count :]]
    return found.laid(where, [index for index in found.spilled if index >= start + count])
