"""Copies of a model on several GPUs, and what ZeRO's stages share out: bytes held, bytes sent.

    zero_stages(model, gpu, ranks=8, batches=4)[3].held["Parameters"]

Full training in bf16 with AdamW, as `planner.training` counts it where gradients are reduced to
their owner only and ZeRO-3 keeps nothing gathered between the passes, as the paper has it.
"""

from dataclasses import dataclass

from planner.hardware import Gpu
from planner.model import Model
from planner.training.exchanges import exchanges
from planner.training.plan import plan_training
from planner.training.recipe import Recipe, Sharding

STAGES: tuple[tuple[str, Sharding], ...] = (
    ("Copies", "ddp"), ("ZeRO-1", "zero1"), ("ZeRO-2", "zero2"), ("ZeRO-3", "zero3"),
)  # fmt: skip
PARTS = {
    "parameters": "Parameters",
    "gradients": "Gradients",
    "master weights": "Optimizer",
    "optimizer states": "Optimizer",
}
"""A state's part of the picture: the optimizer's are its moments and the fp32 copy."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One GPU under one stage.

    held: bytes by part. sent: (what, times a step, bytes that leave it each time).
    """

    name: str
    held: dict[str, int]
    sent: tuple[tuple[str, int, int], ...]
    parameters: int

    @property
    def held_bytes(self) -> int:
        return sum(self.held.values())

    @property
    def sent_bytes(self) -> int:
        return sum(times * size for _, times, size in self.sent)

    @property
    def bytes_per_parameter(self) -> float:
        return self.held_bytes / self.parameters


def zero_stages(model: Model, gpu: Gpu, ranks: int, batches: int) -> tuple[Stage, ...]:
    """Plain copies and the three stages, on `ranks` GPUs and `batches` micro-batches a step."""
    found = []
    for name, sharding in STAGES:
        recipe = Recipe(
            sharding=sharding, data_parallel_size=ranks, gradient_accumulation_steps=batches,
            use_multi_rank_bucket_allreduce=False, stage3_max_live_parameters=0,
        )  # fmt: skip
        plan = plan_training(model, gpu, recipe)
        states = plan.stage.states
        held = dict.fromkeys(PARTS.values(), 0)
        for state in states.states:
            held[PARTS[state.name]] += state.bytes
        sent = tuple((each.what, each.times, each.sent_bytes) for each in exchanges(plan))
        found.append(Stage(name, held, sent, states.parameters))
    return tuple(found)
