"""How fast one kind of GPU really is: its roofs, and how near to them each kernel comes.

A card that was measured here carries its own calibration. For others the peaks are cut to the
share that somebody published for that card, else to what the reference card sustains of its own,
and its kernels' efficiencies are carried over. Another vendor's card of which nothing is
published is taken at the slow end of its range.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import Field

from planner.calibration import KernelPoint, Roofs
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.compressed import CompressedAttention
from planner.model import Mixer, Model
from planner.timing.roofline import Efficiencies, roofs_of

CALIBRATED = (0.92, 1.10)
"""Around a time expected on the very card whose kernels were measured."""


Basis = Literal["calibrated", "published", "borrowed", "unmeasured"]
"""Where a card's efficiency is from: its own run of `validate` (the reference card's is in
speed.json), publications on it, the reference card of the same vendor, or the reference card
although the vendor is another."""
HOPPER = 9.0
"""CUDA compute capability from which on the kernels of the reference card exist."""
UNMEASURED = "efficiency not measured on this card"


class Sustained(Frozen):
    """What was published of one card: shares of its peaks, and the range around times with them.

    slowdown: how much longer all kernels take than the shares promise, from whole models served.
    """

    flops_shares: dict[str, float]
    read_share: float | None = None
    copy_share: float | None = None
    slowdown: float = 1.0
    low: float
    high: float
    source: str


Part = Literal["all", "latents", "chosen keys", "experts"]


class KernelSource(Frozen):
    """Where the figures are from of kernels that only models with such a part run."""

    of: Part
    source: str


class Reference(Frozen):
    """One measured card, and what it sustains of its published peaks.

    low, high: the range around times carried over to another card of its vendor. cards: what was
    published of others, by id. other_vendors_slowdown: how much longer than that another
    vendor's card may take. before_hopper: how much longer some kernels take, beside the roofs, that
    are written for Hopper and newer cards only.
    """

    gpu_id: str
    source: str
    published_sources: tuple[KernelSource, ...] = ()
    points: tuple[KernelPoint, ...]
    read_share: float
    copy_share: float
    flops_shares: dict[str, float]
    low: float
    high: float
    vendor: str = "NVIDIA"
    cards: dict[str, Sustained] = Field(default_factory=dict)
    other_vendors_slowdown: float = 1.0
    other_vendors_source: str = ""
    before_hopper: dict[str, float] = Field(default_factory=dict)
    before_hopper_source: str = ""

    @cached_property
    def efficiencies(self) -> Efficiencies:
        """The points as a table, one for all cards that borrow them."""
        return Efficiencies(self.points)

    @cached_property
    def older_efficiencies(self) -> Efficiencies:
        """The same for cards that the newest kernels are not written for."""
        return self.efficiencies.slowed(self.before_hopper)

    def kernels_of(self, gpu: Gpu) -> Efficiencies:
        """What `gpu` borrows."""
        return self.efficiencies if _is_newest(gpu) else self.older_efficiencies


@dataclass(frozen=True, slots=True)
class Speed:
    """What times are computed with; low and high bound a time as multiples of the central one."""

    roofs: Roofs
    efficiencies: Efficiencies
    low: float
    high: float
    source: str
    basis: Basis = "borrowed"
    kernels: tuple[KernelSource, ...] = ()

    def source_for(self, model: Model) -> str:
        """The source, with that of the kernels that this model runs."""
        parts = _parts(model)
        return "; ".join([self.source, *(k.source for k in self.kernels if k.of in parts)])


def _parts(model: Model) -> set[Part]:
    mixers = [mixer for group in model.groups for mixer in group.mixers]
    found: set[Part] = {"all"}
    if any(isinstance(mixer, LatentAttention) for mixer in mixers):
        found.add("latents")
    if any(_chooses(mixer) for mixer in mixers):
        found.add("chosen keys")
    if model.has_experts:
        found.add("experts")
    return found


def _chooses(mixer: Mixer) -> bool:
    """Whether each query attends to chosen keys alone."""
    return isinstance(mixer, CompressedAttention) or (
        isinstance(mixer, Attention | LatentAttention) and mixer.indexer is not None
    )


def speed_of(gpu: Gpu, reference: Reference) -> Speed:
    """The Speed of `gpu`: from its own calibration, else from its peaks and what is published.

    Raises PlanRefused where no memory bandwidth is known.
    """
    roofs = roofs_of(gpu)
    own = gpu.calibration
    if own is not None and own.roofs is not None and own.points:
        if roofs.fp32_flops_per_s is None and gpu.fp32_flops_per_s is not None:
            share = reference.flops_shares.get("fp32_flops_per_s", 1.0)
            roofs = roofs.model_copy(update={"fp32_flops_per_s": share * gpu.fp32_flops_per_s})
        return Speed(roofs, Efficiencies(own.points), *CALIBRATED, own.label, "calibrated")
    kernels = reference.published_sources
    if gpu.id == reference.gpu_id:
        roofs = _cut(roofs, reference)
        return Speed(
            roofs, reference.efficiencies, *CALIBRATED, reference.source, "calibrated", kernels
        )  # fmt: skip
    shaped = f"shaped as measured on {reference.gpu_id}: {reference.source}"
    if not _is_newest(gpu):
        shaped += f"; {reference.before_hopper_source}"
    known = reference.cards.get(gpu.id)
    if known is not None:
        found = _cut(roofs, reference, known, slower=known.slowdown)
        source = f"{gpu.name}: {known.source}; kernels {shaped}"
        return Speed(
            found, reference.kernels_of(gpu), known.low, known.high, source, "published", kernels
        )  # fmt: skip
    if gpu.vendor in (reference.vendor, "custom"):
        source = f"published peaks of {gpu.name}, cut and {shaped}"
        low, high = reference.low, reference.high
        return Speed(
            _cut(roofs, reference), reference.kernels_of(gpu), low, high, source, kernels=kernels
        )  # fmt: skip
    slower = reference.other_vendors_slowdown
    source = (
        f"published peaks of {gpu.name}, cut and {shaped}; {UNMEASURED}, so these are the slow end "
        f"of the range: {reference.other_vendors_source}"
    )
    return Speed(
        _cut(roofs, reference, slower=slower), reference.kernels_of(gpu), reference.low / slower,
        1.1, source, "unmeasured", kernels,
    )  # fmt: skip


def _is_newest(gpu: Gpu) -> bool:
    """Whether the kernels of the reference card exist for it."""
    return gpu.cuda_capability is not None and gpu.cuda_capability >= HOPPER


def _cut(
    peaks: Roofs, reference: Reference, known: Sustained | None = None, *, slower: float = 1.0
) -> Roofs:
    """What is sustained of the peaks."""
    shares = dict(reference.flops_shares)
    read, copy = reference.read_share, reference.copy_share
    if known is not None:
        shares |= known.flops_shares
        read, copy = known.read_share or read, known.copy_share or copy
    shares |= {"read_bytes_per_s": read, "copy_bytes_per_s": copy}
    given = peaks.model_dump(exclude_none=True)
    return Roofs(**{name: peak * shares.get(name, 1.0) / slower for name, peak in given.items()})
