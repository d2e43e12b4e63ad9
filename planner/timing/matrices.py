"""The matrices of a layer as a rank holds them: which are one matmul, and what a row of it costs.

    for name, held in fused(part.weights, spread(8, 1, False)): held.row_flops

Nothing here depends on how many rows there are, so that it is asked once for many passes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from planner.deployment import Deployment
from planner.formats.gguf_assignment import Stored
from planner.formats.weight_formats import WeightFormat
from planner.memo import memo
from planner.parallelism import shard
from planner.tensors import Weight

FUSED = {
    "k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj",
    "experts.up_proj": "experts.gate_proj",
}  # fmt: skip
"""Projections that are one matmul with the one named, when the layer has that one."""


@dataclass(frozen=True, slots=True)
class Matrices:
    """Matrices that read the same input, as a rank holds them. row_flops, row_elements: what one
    row costs, in and out. numbers: what their format multiplies in, empty for the model's."""

    stored_bytes: int
    row_flops: int
    row_elements: int
    numbers: str


def held_by_rank(
    weights: Iterable[tuple[Weight, WeightFormat]], deployment: Deployment
) -> Matrices:
    """The rank's part of them."""
    stored = flops = inputs = outputs = 0
    numbers = ""
    for weight, fmt in weights:
        shape = shard(weight, deployment).shape
        stored += fmt.bytes(shape)
        if len(shape) == 2:
            flops += 2 * shape[0] * shape[1]
            inputs, outputs = shape[1], outputs + shape[0]
            numbers = fmt.multiplied
    return Matrices(stored, flops, inputs + outputs, numbers)


@memo(maxsize=4096)
def fused(stored: Stored, deployment: Deployment) -> tuple[tuple[str, Matrices], ...]:
    """The matmuls of a layer but those of routed experts, by the name of the first of each."""
    alike: dict[str, list[tuple[Weight, WeightFormat]]] = {}
    names = {weight.name for weight, _ in stored}
    for weight, fmt in stored:
        base = weight.name.removesuffix(".bias")
        if weight.name.startswith("experts.") or base not in names:
            continue
        if weight.role in ("linear", "router", "bias"):
            lead = FUSED.get(base, base)
            alike.setdefault(lead if lead in names else base, []).append((weight, fmt))
    return tuple(
        (name, held_by_rank(weights, deployment))
        for name, weights in alike.items()
        if any(len(w.shape) == 2 for w, _ in weights)
    )


@memo(maxsize=4096)
def halves_of_experts(
    stored: Stored, deployment: Deployment
) -> tuple[tuple[str, Matrices, int], ...]:
    """Both grouped matmuls of routed experts: one expert's matrices, and how many a rank holds."""
    halves: dict[str, Stored] = {"experts.gate_proj": (), "experts.down_proj": ()}
    for weight, fmt in stored:
        if weight.role == "expert":
            down = weight.name.startswith("experts.down_proj")
            key = "experts.down_proj" if down else "experts.gate_proj"
            halves[key] = (*halves[key], (weight, fmt))
    return tuple(
        (
            name,
            held_by_rank(weights, deployment),
            max(shard(w, deployment).copies for w, _ in weights),
        )
        for name, weights in halves.items()
        if weights
    )


@lru_cache(maxsize=256)
def spread(tp: int, dp: int, expert_parallel: bool) -> Deployment:
    """The ranks that weights are split over, whatever else the deployment says."""
    return Deployment(
        tensor_parallel_size=tp, data_parallel_size=dp, enable_expert_parallel=expert_parallel
    )
