"""What the weights of a model take, by component, and what one token reads of them."""

from dataclasses import dataclass, fields
from functools import lru_cache

from planner.formats.gguf_assignment import Stored
from planner.formats.quantization import Assignment
from planner.memo import memo
from planner.model import FeedForward, LayerGroup
from planner.tensors import Weight


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """Bytes of the whole model. active: read for one token, of an untied input table its row.

    attention includes recurrent mixers, experts their routers, mlp the shared experts. mtp layers
    are not in total.
    """

    embedding: int
    attention: int
    mlp: int
    experts: int
    norms: int
    other: int
    head: int
    mtp: int
    active: int

    @property
    def total(self) -> int:
        return (
            self.embedding
            + self.attention
            + self.mlp
            + self.experts
            + self.norms
            + self.other
            + self.head
        )


def component(weight: Weight, group: LayerGroup | None) -> str:
    """Which field of WeightBytes a weight belongs to; group None: outside the layers."""
    if weight.role == "norm":
        return "norms"
    if group is None:
        if weight.name.startswith("lm_head"):
            return "head"
        return "embedding" if weight.role == "embedding" else "other"
    if weight.role in ("expert", "router") or weight.name.startswith(("experts.", "router")):
        return "experts"
    if any(_same(weight, own) for own in _mlp_weights(group)):
        return "mlp"
    return "attention" if group.mixers else "other"


def _same(weight: Weight, own: Weight) -> bool:
    """Whether `own`, made for a hidden size of 1, is the same tensor."""
    ends = (weight.shape[0] == own.shape[0], weight.shape[-1] == own.shape[-1])
    return weight.name == own.name and any(ends)


def _mlp_weights(group: LayerGroup) -> tuple[Weight, ...]:
    return () if group.mlp is None else _weights_of(group.mlp)


@lru_cache(maxsize=512)
def _weights_of(mlp: FeedForward) -> tuple[Weight, ...]:
    return mlp.weights(1)


@memo(maxsize=256)
def weights_bytes(assignment: Assignment) -> WeightBytes:
    """Bytes of every weight of the model that `assignment` was made for."""
    sums = dict.fromkeys((f.name for f in fields(WeightBytes)), 0)
    for part in assignment.layers:
        for weight, fmt in part.weights:
            each, layers = fmt.bytes(weight.shape), len(part.layers)
            working = weight.copies if weight.active is None else weight.active
            sums[component(weight, part.group)] += layers * weight.copies * each
            sums["active"] += layers * working * each
    has_head = any(component(weight, None) == "head" for weight, _ in assignment.outside)
    for weight, fmt in assignment.outside:
        where = component(weight, None)
        sums[where] += weight.copies * fmt.bytes(weight.shape)
        by_row = where == "embedding" and has_head
        sums["active"] += fmt.bytes((1, *weight.shape[1:]) if by_row else weight.shape)
    sums["mtp"] = _bytes(assignment.mtp_outside)
    sums["mtp"] += sum(len(part.layers) * _bytes(part.weights) for part in assignment.mtp)
    return WeightBytes(**sums)


def _bytes(stored: Stored) -> int:
    return sum(weight.copies * fmt.bytes(weight.shape) for weight, fmt in stored)
