"""Which tensors a plan's weights become on the device, in the order in which they are made."""

from collections.abc import Iterable, Iterator

from planner.formats.weight_formats import UNQUANTISED, WeightFormat
from planner.model import Model
from planner.plan import Plan
from planner.tensors import Weight
from planner.timing.matrices import FUSED

Stored = Iterable[tuple[Weight, WeightFormat]]


def joined(stored: Stored) -> dict[str, list[tuple[Weight, WeightFormat]]]:
    """Weights by the tensor that holds them: projections of one input lie in one."""
    pairs = list(stored)
    names = {weight.name for weight, _ in pairs}
    found: dict[str, list[tuple[Weight, WeightFormat]]] = {}
    for weight, fmt in pairs:
        lead = FUSED.get(weight.name, weight.name)
        lead = lead if lead in names and len(weight.shape) == 2 else weight.name
        found.setdefault(lead, []).append((weight, fmt))
    return found


def sizes(parts: list[tuple[Weight, WeightFormat]]) -> Iterator[int]:
    """Bytes of one tensor, after those of its scales per matrix if it has any."""
    fmt = parts[0][1]
    scales = sum(w.copies for w, _ in parts) * fmt.tensor_bytes
    if scales:
        yield scales
    yield sum(w.copies * f.bytes(w.shape) for w, f in parts) - scales


def towers(model: Model) -> tuple[tuple[Weight, WeightFormat], ...]:
    """Tensors of a vision tower, which a plan counts and a dry run holds but does not run."""
    return tuple((weight, UNQUANTISED[model.dtype]) for weight in model.towers)


def requests(plan: Plan) -> list[int]:
    """Bytes of every tensor of the plan's weights; their sum is the plan's own figure."""
    assignment = plan.footprint.assignment
    found = [size for parts in joined(assignment.outside).values() for size in sizes(parts)]
    for part in assignment.layers:
        one = [size for parts in joined(part.weights).values() for size in sizes(parts)]
        found += one * len(part.layers)
    found += [size for parts in joined(towers(plan.model)).values() for size in sizes(parts)]
    return found
