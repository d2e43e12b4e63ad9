"""Whether GPUs that work together have links of their own, which engines give buffers to."""

from planner.hardware import Gpu


def linked(gpu: Gpu, ranks: int) -> bool:
    """NVLink, Infinity Fabric or the like between so many. Of a card of which only the memory is
    known it is assumed."""
    if gpu.nvlink_bidirectional_bytes_per_s is None:
        return gpu.vendor == "custom"
    return gpu.nvlink_gpus is None or ranks <= gpu.nvlink_gpus
