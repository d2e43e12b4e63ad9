"""Times of a pass on many kinds of GPU at once, in NumPy.

The same formulas as roofline.time_s; a test holds them equal. The first axis of every result is
the GPU; costs that are arrays keep their own axes behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.calibration import Bound, KernelPoint
from planner.hardware import Gpu
from planner.memo import memo
from planner.timing.collectives import Link, link_between
from planner.timing.passes import PROMPT_LAUNCH_S, Timer
from planner.timing.roofline import Costs, Efficiencies, Work
from planner.timing.speed import Speed

Floats = NDArray[np.float64]
AXES = 3
"""A result's axes: GPU, chunk size, users."""


class GpuGrid:
    """GPUs that share one table of measured points, as arrays of their rates."""

    def __init__(self, gpus: Sequence[Gpu], speeds: Sequence[Speed]) -> None:
        self.gpus = gpus
        self._roofs = [speed.roofs for speed in speeds]
        self._efficiencies: Efficiencies = speeds[0].efficiencies
        kernels = {kernel for speed in speeds for kernel in speed.efficiencies.slower}
        self._slower = {
            kernel: _first_axis([speed.efficiencies.slower.get(kernel, 1.0) for speed in speeds])
            for kernel in kernels
        }
        self._read = _first_axis([roofs.read_bytes_per_s for roofs in self._roofs])
        self._copy = _first_axis([roofs.copy_bytes_per_s for roofs in self._roofs])
        self._rates: dict[str, Floats] = {}
        self._links: dict[int, Link] = {}

    def timer(self) -> Timer:
        """What passes.*.seconds take; its times have one row per GPU."""
        return Timer(self.kernels_s, self.link, PROMPT_LAUNCH_S)

    def link(self, ranks: int) -> Link:
        """The GPUs' links as one whose figures are arrays."""
        found = self._links.get(ranks)
        if found is None:
            each = [link_between(gpu, ranks) for gpu in self.gpus]
            numbers: Any = [
                _first_axis([getattr(link, name) for link in each])
                for name in (
                    "bytes_per_s",
                    "start_s",
                    "small",
                    "large",
                    "low",
                    "high",
                    "pair_bytes_per_s",
                    "direct",
                )
            ]
            found = self._links[ranks] = Link(each[0].kind, *numbers)
        return found

    def kernels_s(self, costs: Costs) -> Floats:
        """Seconds of all launches, those of one kernel computed together."""
        total: Any = 0.0
        for rows in stacked(costs):
            compute = rows.flops / self._rate(rows.numbers)
            memory = rows.read_bytes / self._read + rows.activation_bytes / self._copy
            seconds = self._expected(rows, "memory", memory)
            by_compute = compute > memory
            if by_compute.any():
                other = self._expected(rows, "compute", compute)
                seconds = np.where(by_compute, other, seconds)
            seconds = seconds * self._slower.get(rows.kernel, 1.0)
            total = total + (rows.launches * seconds).sum(axis=0)
        return np.asarray(total, dtype=np.float64)

    def _rate(self, numbers: str) -> Floats:
        found = self._rates.get(numbers)
        if found is None:
            found = _first_axis([roofs.flops_per_s(numbers) for roofs in self._roofs])
            self._rates[numbers] = found
        return found

    def _expected(self, rows: "Rows", bound: Bound, ideal: Floats) -> Floats:
        points = self._efficiencies.points_for(rows.kernel, rows.variant, bound)
        return expected_s(points, ideal) if points else ideal


@dataclass(frozen=True, slots=True)
class Rows:
    """Launches of one kernel, the first axis of every figure; then the axes of a result."""

    kernel: str
    variant: str
    numbers: str
    launches: Floats
    flops: Floats
    read_bytes: Floats
    activation_bytes: Floats


@memo(maxsize=4096)
def stacked(costs: Costs) -> tuple[Rows, ...]:
    """The launches of a pass by kernel, kept per object: a sweep asks for the same again."""
    alike: dict[tuple[str, str, str], list[Work]] = {}
    for work in costs.work:
        alike.setdefault((work.kernel, work.variant, work.numbers), []).append(work)
    return tuple(
        Rows(
            *key,
            _stack([w.launches for w in works]),
            _stack([w.flops for w in works]),
            _stack([w.weight_bytes + w.kv_bytes for w in works]),
            _stack([w.activation_bytes for w in works]),
        )
        for key, works in alike.items()
    )


def expected_s(points: Sequence[KernelPoint], ideal: Floats) -> Floats:
    """Efficiencies.expected_s for an array of ideal times."""
    at, took = _curve(points)
    found: Floats = np.interp(ideal, at, took)
    found += np.minimum(ideal - at[0], 0.0)
    found += np.maximum(ideal - at[-1], 0.0) * (1 / points[-1].efficiency)
    return found


@memo(maxsize=4096)
def _curve(points: Sequence[KernelPoint]) -> tuple[Floats, Floats]:
    """Ideal and expected times of the points."""
    at = [point.ideal_s for point in points]
    took = [max(points[0].measured_s, at[0]), *(point.measured_s for point in points[1:])]
    return np.asarray(at), np.asarray(took)


def _first_axis(values: Sequence[float]) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1, *[1] * (AXES - 1))


def _stack(values: Sequence[Any]) -> Floats:
    """One row per launch, in front of the axes of a result."""
    shapes = {value.shape for value in values if isinstance(value, np.ndarray)}
    shape = shapes.pop() if len(shapes) == 1 else np.broadcast_shapes(*shapes)
    stack = np.empty((len(values), *[1] * (AXES - len(shape)), *shape))
    for row, value in enumerate(values):
        stack[row] = value
    return stack
