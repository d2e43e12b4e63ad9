"""What a record teaches plans: overheads of this card, its roofs, and how long its kernels take."""

from functools import cache
from statistics import median

from planner.calibration import Calibration, KernelPoint, MemoryCalibration, Roofs
from planner.errors import PlanRefused
from planner.hardware import Gpu, gpu_calibrated
from validate.card import machine
from validate.inputs import known_gpu
from validate.record import NOT_REUSED, Record


def calibration_from(record: Record) -> Calibration:
    """The calibration of the card that `record` was measured on.

    Raises PlanRefused for a rehearsal, which measured nothing, and for a record without a context.
    """
    if record.kind != "measurement":
        raise PlanRefused("a rehearsal measures nothing, so no calibration can be taken from it")
    card = record.card
    if not card.get("memory_bytes") or "context_bytes" not in card:
        raise PlanRefused("this record has no measured context, so there is nothing to calibrate")
    overheads = MemoryCalibration(
        label=f"calibrated on {_whose(card['name'])}, {record.date}",
        context_bytes=card["context_bytes"],
        libraries_bytes=card.get("libraries_bytes"),
        fragmentation_bytes=_fragmentation_bytes(record),
    )
    return Calibration(
        gpu_name=card["name"],
        date=record.date,
        memory_bytes=card["memory_bytes"],
        memory=overheads,
        roofs=Roofs(**record.roofs) if record.roofs else None,
        points=tuple(KernelPoint(**point) for point in record.points),
    )


def _whose(name: str) -> str:
    """Whether the card of a record may be one of this machine's."""
    return f"this GPU ({name})" if name in _names() else f"another {name}"


@cache
def _names() -> frozenset[str]:
    return frozenset(gpu.name for gpu in machine().gpus)


def calibrated_gpu(gpu: Gpu, record: Record) -> Gpu:
    """`gpu` as the record found it. Raises PlanRefused where the record is of another card."""
    calibration = calibration_from(record)
    of = known_gpu(calibration.gpu_name, calibration.memory_bytes)
    if of is not None and of.id != gpu.id:
        raise PlanRefused(
            f"this record is of {calibration.gpu_name} ({of.id}), not of {gpu.id}: "
            "choose that GPU, or validate on this one"
        )
    return gpu_calibrated(gpu, calibration)


def _fragmentation_bytes(record: Record) -> int | None:
    """What the allocator could not reuse with the card full: what it only kept, it gives back."""
    found = [
        case.details["taken_bytes"][NOT_REUSED]
        for case in record.section("wall")
        if NOT_REUSED in case.details.get("taken_bytes", {})
    ]
    return max(0, int(median(found))) if found else None
