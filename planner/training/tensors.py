"""Which tensors a pipeline stage trains, as one rank holds them before data-parallel sharding."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from planner.model import Model
from planner.parallelism import layers_in, shard, stage_groups
from planner.tensors import Role, Weight
from planner.training.recipe import Lora, Recipe
from planner.units import ceil_div

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj", "q_a_proj", "q_b_proj",
             "kv_a_proj_with_mqa", "kv_b_proj")  # fmt: skip

CODE_BYTES = {"nf4": 0.5, "int8": 1.0}
"""Bytes per frozen parameter, its scales apart."""


@dataclass(frozen=True, slots=True)
class Held:
    """`count` equal tensors of one rank. expert: sharded over expert-data-parallel ranks only.

    base: the format of a frozen tensor; trainable ones are stored in the training precision.
    outside: of the layers.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    count: int
    expert: bool = False
    trainable: bool = True
    base: str = "16-bit"
    outside: bool = False

    @property
    def parameters(self) -> int:
        return self.count * prod(self.shape)

    def gathered_bytes(self, parameter_bytes: int) -> int:
        """All of it as ranks that share it out send it: codes, or parameters of so many bytes."""
        return int(CODE_BYTES.get(self.base, parameter_bytes) * self.parameters)


def targeted(weight: Weight, lora: Lora) -> bool:
    """Whether an adapter sits beside this weight. Routers, embeddings and heads have none."""
    if len(weight.shape) != 2 or weight.name.startswith("lm_head"):
        return False
    if weight.role == "expert":
        return lora.targets == "experts"
    return weight.role == "linear" and (lora.targets != "attention" or weight.name in ATTENTION)


def layer_tensors(weights: tuple[Weight, ...], recipe: Recipe, layers: int = 1) -> Iterator[Held]:
    """What a rank holds of `layers` layers with these weights, adapters included.

    Gate and up projection of the experts are one tensor, and have one lora_A.
    """
    names = {weight.name for weight in weights}
    for weight in weights:
        for held in _held(weight, recipe, layers):
            if held.name != "experts.up_proj.lora_A" or "experts.gate_proj" not in names:
                yield held


def stage_tensors(model: Model, recipe: Recipe) -> list[tuple[Held, ...]]:
    """Per pipeline stage what one of its ranks holds: layers, embedding first, head last.

    A tied head is a copy of its own where the last stage is not the first.
    """
    found = []
    stages = stage_groups(model, recipe.pipeline_parallel_size)
    for index, groups in enumerate(stages):
        held: list[Held] = []
        for group, span in groups:
            held += layer_tensors(
                group.weights(model.hidden_size), recipe, layers_in(group, span)
            )  # fmt: skip
        outside: tuple[Weight, ...] = ()
        if index == 0:
            outside += model.embedding
        if index == len(stages) - 1:
            head = model.head or (model.embedding[:1] if index else ())
            outside += head + model.extras
        for weight in outside:
            held += _held(weight, recipe, 1, outside=True)
        found.append(tuple(held))
    return found


def _held(weight: Weight, recipe: Recipe, layers: int, outside: bool = False) -> Iterator[Held]:
    expert = weight.name.startswith("experts.")
    part = shard(weight, recipe.deployment())
    count = layers * ceil_div(part.copies, recipe.expert_parallel_size if expert else 1)
    lora = recipe.lora
    if lora is None:
        yield Held(weight.name, part.shape, weight.role, count, expert, outside=outside)
        return
    stored = weight.role == "linear" or (weight.role == "expert" and lora.quantize_moe_experts)
    quantised = stored and len(weight.shape) == 2 and not weight.name.startswith("lm_head")
    base = lora.base if quantised else "16-bit"
    yield Held(weight.name, part.shape, weight.role, count, expert, False, base, outside)
    if targeted(weight, lora):
        out_features, in_features = part.shape
        yield Held(f"{weight.name}.lora_A", (lora.rank, in_features), "linear", count, expert,
                   outside=outside)  # fmt: skip
        yield Held(f"{weight.name}.lora_B", (out_features, lora.rank), "linear", count, expert,
                   outside=outside)  # fmt: skip
