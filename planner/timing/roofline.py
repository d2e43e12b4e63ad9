"""Time of work on a GPU: the larger of arithmetic and memory traffic, as kernels really reach it.

    costs = step_costs(model, deployment, "decode", 1, [8192] * 64)
    time_s(costs, roofs_of(gpu), Efficiencies(calibration.points))

The ideal time of a launch is a bound from the roofs alone. Points measured on a card turn it into
an expected time: each says what one kernel took for work of a known ideal time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planner.calibration import Bound, KernelPoint, Roofs
from planner.errors import PlanRefused
from planner.hardware import Gpu

STANDS_IN = {
    "grouped_matmul": "matmul", "indexer": "matmul", "mla_decode": "paged_decode",
    "routing": "elementwise", "sparse_decode": "mla_decode", "sparse_prefill": "sparse_decode",
}  # fmt: skip
"""Whose points serve a kernel that was not measured itself."""


@dataclass(frozen=True, slots=True)
class Work:
    """`launches` equal launches of one kernel; the other figures are those of one launch.

    variant: what a kernel's efficiency depends on besides size ("bf16", "d128", "d128 bf16 wide").
    numbers: the format it multiplies in, which chooses the arithmetic roof.
    """

    kernel: str
    variant: str
    part: str
    launches: int
    numbers: str
    flops: int = 0
    weight_bytes: int = 0
    kv_bytes: int = 0
    activation_bytes: int = 0

    @property
    def bytes(self) -> int:
        return self.weight_bytes + self.kv_bytes + self.activation_bytes


@dataclass(frozen=True, slots=True)
class Costs:
    """One forward pass of one GPU, launch by launch; sums in FLOPs and bytes."""

    work: tuple[Work, ...]

    @property
    def flops(self) -> int:
        return sum(w.launches * w.flops for w in self.work)

    @property
    def weight_bytes(self) -> int:
        return sum(w.launches * w.weight_bytes for w in self.work)

    @property
    def kv_bytes(self) -> int:
        return sum(w.launches * w.kv_bytes for w in self.work)

    @property
    def activation_bytes(self) -> int:
        return sum(w.launches * w.activation_bytes for w in self.work)

    @property
    def launches(self) -> int:
        return sum(w.launches for w in self.work)


def roofs_of(gpu: Gpu) -> Roofs:
    """Measured roofs where the GPU carries a calibration, published peaks otherwise."""
    if gpu.calibration is not None and gpu.calibration.roofs is not None:
        return gpu.calibration.roofs
    return peaks_of(gpu)


def peaks_of(gpu: Gpu) -> Roofs:
    """Published peaks. Raises PlanRefused where no memory bandwidth is."""
    if gpu.memory_bandwidth_bytes_per_s is None:
        raise PlanRefused(f"{gpu.name}: no memory bandwidth is known, so no time can be given")
    bandwidth = gpu.memory_bandwidth_bytes_per_s
    return Roofs(
        read_bytes_per_s=bandwidth,
        copy_bytes_per_s=bandwidth,
        bf16_flops_per_s=gpu.bf16_flops_per_s,
        fp16_flops_per_s=gpu.fp16_flops_per_s,
        fp8_flops_per_s=gpu.fp8_flops_per_s,
        int8_flops_per_s=gpu.int8_ops_per_s,
        fp4_flops_per_s=gpu.fp4_flops_per_s,
        fp32_flops_per_s=gpu.fp32_flops_per_s,
    )


def ideal_s(work: Work, roofs: Roofs) -> tuple[float, Bound]:
    """Bound of one launch from the roofs, and which of them binds.

    Weights and cache are read; activations are read and written alike, as in a copy.
    """
    compute = work.flops / roofs.flops_per_s(work.numbers) if work.flops else 0.0
    memory = (work.weight_bytes + work.kv_bytes) / roofs.read_bytes_per_s
    memory += work.activation_bytes / roofs.copy_bytes_per_s
    return (compute, "compute") if compute > memory else (memory, "memory")


class Efficiencies:
    """Expected time of a launch from measured points of the same kernel.

    Between two sizes the time is interpolated, beyond the largest the efficiency stays, below the
    smallest the time above the roof does: that is what a launch costs however little it has to do.
    """

    def __init__(self, points: Iterable[KernelPoint] = ()) -> None:
        self._points: dict[tuple[str, str, Bound], list[KernelPoint]] = {}
        for point in points:
            self._points.setdefault((point.kernel, point.variant, point.bound), []).append(point)
        for found in self._points.values():
            found.sort(key=lambda point: point.ideal_s)

    def points_for(self, kernel: str, variant: str, bound: Bound) -> Sequence[KernelPoint]:
        """Points of that kernel and variant, else of its nearest relative, else none."""
        found = self._points.get((kernel, variant, bound))
        if found is not None:
            return found
        related = [key for key in self._points if key[0] == kernel and key[2] == bound]
        if related:
            words = set(variant.split())
            return self._points[max(related, key=lambda key: len(words & set(key[1].split())))]
        stand_in = STANDS_IN.get(kernel)
        return self.points_for(stand_in, variant, bound) if stand_in else ()

    def expected_s(self, work: Work, roofs: Roofs) -> float:
        """Time of one launch; its ideal time where nothing like it was measured."""
        ideal, bound = ideal_s(work, roofs)
        points = self.points_for(work.kernel, work.variant, bound)
        if not points:
            return ideal
        after = bisect_left([p.ideal_s for p in points], ideal)
        if after == 0:
            return ideal + max(0.0, points[0].measured_s - points[0].ideal_s)
        if after == len(points):
            return ideal / points[-1].efficiency
        low, high = points[after - 1], points[after]
        share = (ideal - low.ideal_s) / (high.ideal_s - low.ideal_s)
        return low.measured_s + share * (high.measured_s - low.measured_s)


def time_s(costs: Costs, roofs: Roofs, efficiencies: Efficiencies | None = None) -> float:
    """Seconds of one pass: the sum over launches, one after the other.

    Without efficiencies it is the bound that the roofs set, and no GPU will be faster.
    """
    table = efficiencies or Efficiencies()
    return sum(w.launches * table.expected_s(w, roofs) for w in costs.work)
