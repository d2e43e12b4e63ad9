"""What a card has: memory, shared memory, rates, and their ratios."""

from planner.hardware import Gpu
from planner.lessons.flash_versions import exponentials_per_s
from planner.lessons.hierarchy import shared_bytes_per_s
from planner.lessons.quantities.given import Figure, Inputs, Presets, Quantity, one_or_all


def _peak(gpu: Gpu) -> float:
    return float(gpu.fp16_flops_per_s or 0)


def _peak_share(inputs: Inputs, presets: Presets) -> Figure:
    peaks = [_peak(presets.gpu_of(gpu)) for gpu in inputs["gpus"]]
    return tuple(n / peak for n, peak in zip(inputs["flops"], peaks, strict=True))


def _sram(inputs: Inputs, presets: Presets) -> float:
    return float((presets.gpu_of(inputs["gpu"]).sm_count or 0) * inputs["bytes_per_sm"])


def _memory_over_shared(inputs: Inputs, presets: Presets) -> float:
    """Device memory over what kernels can use of all multiprocessors' shared memory."""
    gpu = presets.gpu_of(inputs["gpu"])
    shared = (gpu.sm_count or 0) * (gpu.smem_per_sm_bytes or 0)
    return float(inputs["memory_bytes"] / shared)


def _exponential_gap(inputs: Inputs, presets: Presets) -> Figure:
    """FLOPs of 16-bit products that pass while the card computes one exponential."""
    gpus = [presets.gpu_of(gpu) for gpu in inputs["gpus"]]
    return one_or_all(tuple(_peak(gpu) / exponentials_per_s(gpu) for gpu in gpus))


QUANTITIES: dict[str, Quantity] = {
    "card": lambda i, presets: float(getattr(presets.gpu_of(i["gpu"]), i["field"])),
    "peak share": _peak_share,
    "sram": _sram,
    "memory over shared memory": _memory_over_shared,
    "shared memory rate": lambda i, presets: float(
        shared_bytes_per_s(presets.gpu_of(i["gpu"])) or 0
    ),
    "exponential gap": _exponential_gap,
    "read time": lambda i, _: i["layers"] * i["bytes"] / i["bandwidth"],
    "ridge": lambda i, _: i["flops"] / i["bandwidth"],
}
