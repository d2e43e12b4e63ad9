"""The buffers that llama-server's start-up prints."""

from planner.engines.llama_cpp.placement import Placement
from planner.units import MIB

BACKENDS = {"AMD": "ROCm", "Apple": "Metal", "Intel": "SYCL"}
"""What devices are called in its log; CUDA elsewhere."""


def log_lines(placement: Placement, ctx_size: int, vendor: str) -> tuple[str, ...]:
    """Buffers as printed: weights, cache and compute of every device that has some."""
    backend = BACKENDS.get(vendor, "CUDA")
    lines = []
    for device in (-1, *placement.gpus):
        name = "CPU" if device < 0 else backend if backend == "Metal" else f"{backend}{device}"
        weights, cache = placement.weights(device), placement.cache(device, ctx_size)
        shown = f"{name}_Mapped" if name in ("CPU", "Metal") else name
        lines.append(f"{shown} model buffer size = {weights / MIB:8.2f} MiB")
        if cache:
            lines.append(f"{name} KV buffer size = {cache / MIB:8.2f} MiB")
        if device >= 0:
            size = placement.compute(device, ctx_size).bytes
            lines.append(f"{name} compute buffer size = {size / MIB:8.2f} MiB")
    return tuple(lines)
