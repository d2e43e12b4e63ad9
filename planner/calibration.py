"""What was measured on one card, as data: it replaces estimates in plans made for that card.

gpu = gpu_calibrated(load_gpu("h200-sxm-141gb"), calibration)
make_plan(model, gpu, deployment, workload)   # says when and on which card
"""

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.frozen import Frozen

Bound = Literal["memory", "compute"]


class Roofs(Frozen):
    """What a card sustains at best; None where nobody measured or published it."""

    read_bytes_per_s: PositiveFloat
    copy_bytes_per_s: PositiveFloat
    bf16_flops_per_s: PositiveFloat | None = None
    fp16_flops_per_s: PositiveFloat | None = None
    fp8_flops_per_s: PositiveFloat | None = None
    int8_flops_per_s: PositiveFloat | None = None
    fp4_flops_per_s: PositiveFloat | None = None
    fp32_flops_per_s: PositiveFloat | None = None

    def flops_per_s(self, numbers: str) -> float:
        """The arithmetic roof of a format; narrow ones without one of their own run in 16 bits.

        Raises PlanRefused where none is known, and for fp32 where its own is not.
        """
        own: float | None = getattr(self, f"{numbers}_flops_per_s", None)
        if numbers == "fp32" and own is None:
            raise PlanRefused(
                "no 32-bit arithmetic rate is published for this GPU, so no times are predicted "
                "in fp32: choose 16-bit weights, or another GPU"
            )
        found = own or self.bf16_flops_per_s or self.fp16_flops_per_s or self.fp32_flops_per_s
        if found is None:
            raise PlanRefused(
                "no arithmetic rate is published for this GPU, so no times are predicted for it: "
                "plan its memory, choose another, or validate on it if it runs CUDA"
            )
        return found


class KernelPoint(Frozen):
    """One kernel at one size on one card: what the roofs allow and what it took."""

    kernel: str
    variant: str
    bound: Bound
    ideal_s: PositiveFloat
    measured_s: PositiveFloat

    @property
    def efficiency(self) -> float:
        return self.ideal_s / self.measured_s


class MemoryCalibration(Frozen):
    """Run-time memory of one card, in bytes; None where it was not measured.

    fragmentation_bytes: what the caching allocator could not reuse with the card full; what it
    only keeps for later it gives back when memory runs short.
    """

    label: str
    context_bytes: NonNegativeInt | None = None
    libraries_bytes: NonNegativeInt | None = None
    fragmentation_bytes: NonNegativeInt | None = None

    def estimates(self) -> dict[str, Estimate]:
        """The measured figures by the name of the overhead; each is its own range."""
        found = {
            "context": self.context_bytes,
            "libraries": self.libraries_bytes,
            "fragmentation": self.fragmentation_bytes,
        }
        return {
            name: Estimate(size, size, size, self.label)
            for name, size in found.items()
            if size is not None
        }


class Calibration(Frozen):
    """A card's memory, overheads, roofs and kernel times, as one run of `validate` found them."""

    gpu_name: str
    date: str
    memory_bytes: PositiveInt
    memory: MemoryCalibration
    roofs: Roofs | None = None
    points: tuple[KernelPoint, ...] = ()

    @property
    def label(self) -> str:
        """'calibrated on this GPU (NVIDIA H200), 2026-11-23'."""
        return self.memory.label
