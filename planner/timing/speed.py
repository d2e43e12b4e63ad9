"""How fast one kind of GPU really is: its roofs, and how near to them each kernel comes.

A card that was measured carries its own calibration. For others the peaks are cut to the share
that the reference card sustains of its own, and its kernels' efficiencies are carried over.
"""

from dataclasses import dataclass
from functools import cached_property

from planner.calibration import KernelPoint, Roofs
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.timing.roofline import Efficiencies, roofs_of

CALIBRATED = (0.92, 1.10)
"""Around a time expected on the very card whose kernels were measured."""


class Reference(Frozen):
    """One measured card, and what it sustains of its published peaks.

    low, high: the range around times carried over to another card.
    """

    gpu_id: str
    source: str
    points: tuple[KernelPoint, ...]
    read_share: float
    copy_share: float
    flops_shares: dict[str, float]
    low: float
    high: float

    @cached_property
    def efficiencies(self) -> Efficiencies:
        """The points as a table, one for all cards that borrow them."""
        return Efficiencies(self.points)


@dataclass(frozen=True, slots=True)
class Speed:
    """What times are computed with; low and high bound a time as multiples of the central one."""

    roofs: Roofs
    efficiencies: Efficiencies
    low: float
    high: float
    source: str


def speed_of(gpu: Gpu, reference: Reference) -> Speed:
    """The Speed of `gpu`: from its own calibration, else from its peaks and the reference card.

    Raises PlanRefused where no memory bandwidth is known.
    """
    roofs = roofs_of(gpu)
    own = gpu.calibration
    if own is not None and own.roofs is not None and own.points:
        return Speed(roofs, Efficiencies(own.points), *CALIBRATED, own.label)
    shares = reference.flops_shares
    peaks = roofs.model_dump(exclude_none=True)
    sustained = {name: peak * shares.get(name, 1.0) for name, peak in peaks.items()}
    sustained["read_bytes_per_s"] = roofs.read_bytes_per_s * reference.read_share
    sustained["copy_bytes_per_s"] = roofs.copy_bytes_per_s * reference.copy_share
    return Speed(
        Roofs(**sustained),
        reference.efficiencies,
        reference.low,
        reference.high,
        f"published peaks of {gpu.name}, cut and shaped as measured on {reference.gpu_id}: "
        f"{reference.source}",
    )
