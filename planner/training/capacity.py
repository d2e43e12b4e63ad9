"""The questions backwards: largest micro-batch, longest sequence, fewest GPUs, cheapest sharding.

Each answer fits and the next does not, by the central estimates.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.capacity import GPU_COUNTS, largest
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.kinds.mlp import MoE
from planner.model import Model
from planner.training.plan import TrainingPlan, plan_training
from planner.training.recipe import SHARDING_NAMES, Lora, Recipe, Sharding, position_table
from planner.workload import least_tokens

MOST_SEQUENCES = 2**16
LONGEST = 2**24
MOST_GPUS = 1024
COPIES = (*GPU_COUNTS, 128, 256, 512, 1024)
LADDER: tuple[Sharding, ...] = ("ddp", "zero1", "zero2", "zero3")
"""From least to most communication in a step of many micro-batches."""

EVERYTHING: dict[str, object] = {
    "sharding": "fsdp2", "offload_optimizer": "cpu", "offload_parameters": "cpu",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """Answers for one plan; 0 or None where nothing fits."""

    micro_batch_size: int
    sequence_length: int
    sharding: Sharding | None
    fewest: Recipe | None


def limits(plan: TrainingPlan) -> Limits:
    """All four answers."""
    found = fewest_gpus(plan.model, plan.gpu, plan.recipe)
    return Limits(
        largest_micro_batch(plan), longest_sequence(plan), cheapest_sharding(plan), found
    )  # fmt: skip


def largest_micro_batch(plan: TrainingPlan) -> int:
    """Most sequences a GPU can take at once."""
    return _largest(plan, "micro_batch_size", MOST_SEQUENCES)


def longest_sequence(plan: TrainingPlan) -> int:
    """Longest sequence at this micro-batch, a multiple that every rank can share."""
    step, longest = plan.recipe.sequence_multiple, position_table(plan.model) or LONGEST
    return step * _largest(plan, "sequence_length", longest // step, step)


def remedies(plan: TrainingPlan) -> tuple[str, ...]:
    """Single changes after which it fits, in words; empty when it fits, or when none helps."""
    if plan.fits:
        return ()
    recipe = plan.recipe
    sharding = cheapest_sharding(plan)
    tries: tuple[tuple[str, dict[str, object]], ...] = (
        ("recompute every layer", {"recomputation": "full"}),
        ("fuse head and loss in chunks", {"loss": "chunked"}),
        ("8-bit AdamW", {"optimizer": "adamw_8bit"}),
        ("everything on the host (FSDP2)", EVERYTHING)
        if recipe.sharding == "fsdp2"
        else ("optimizer on the host (ZeRO-3)", {"sharding": "zero3", "offload_optimizer": "cpu"}),
        *_adapters(plan.model, recipe.lora),
    )
    found = []
    if sharding is not None:
        found.append(f"{SHARDING_NAMES[sharding]} sharding")
        tries = tuple(each for each in tries if "sharding" not in each[1])
    for words, changes in tries:
        if all(getattr(recipe, name) == value for name, value in changes.items()):
            continue
        changed = _try(plan.model, plan.gpu, recipe, **changes)
        if changed is not None and changed.fits:
            found.append(words)
    micro = largest_micro_batch(plan)
    if micro:
        found.append(f"micro-batches of {micro:,}")
    elif (longest := longest_sequence(plan)) >= least_tokens(recipe.sequence_length):
        found.append(f"sequences of {longest:,} tokens")
    fewest = fewest_gpus(plan.model, plan.gpu, recipe)
    if fewest is not None:
        if fewest.gpus > recipe.gpus:
            found.append(f"{fewest.gpus:,} GPUs ({split(fewest)})")
        elif fewest.data_parallel_size == 1:
            each = split(fewest).removeprefix("data 1 × ")
            found.append(f"each copy on {fewest.gpus:,} of the GPUs ({each})")
    return tuple(found)


def _adapters(model: Model, own: Lora | None) -> Iterator[tuple[str, dict[str, object]]]:
    """Adapters that take less, in words: the usual ones, or what there are with one change."""
    usual = Lora()
    before = own or usual

    def changed(**values: object) -> dict[str, object]:
        return {"lora": before.model_copy(update=values)}

    if own is None:
        yield "LoRA", changed()
    if before.rank > usual.rank:
        yield f"adapters of rank {usual.rank}", changed(rank=usual.rank)
    if before.targets == "experts":
        yield "no adapters beside routed experts", changed(targets=usual.targets)
    if before.base != "nf4":
        yield "QLoRA", changed(base="nf4")
    if any(isinstance(group.mlp, MoE) for group in model.groups):
        yield "QLoRA with experts in 4 bits", changed(base="nf4", quantize_moe_experts=True)


def split(recipe: Recipe) -> str:
    """'data 2 × tensor 4 × pipeline 1': how GPUs share the work, the factors of their number."""
    sizes = {
        "data": recipe.data_parallel_size, "tensor": recipe.tensor_parallel_size,
        "pipeline": recipe.pipeline_parallel_size,
    }  # fmt: skip
    if recipe.context_parallel_size > 1:
        sizes["context"] = recipe.context_parallel_size
    return " × ".join(f"{name} {size}" for name, size in sizes.items())


def _largest(plan: TrainingPlan, name: str, limit: int, step: int = 1) -> int:
    def total(n: int) -> int:
        changed = plan.recipe.replace(**{name: n * step})
        return plan_training(plan.model, plan.gpu, changed).total_bytes

    start = getattr(plan.recipe, name) // step
    return largest(total, plan.gpu.memory_bytes, limit, max(1, start))


def cheapest_sharding(plan: TrainingPlan) -> Sharding | None:
    """The lowest ZeRO stage that fits: the one that talks least."""
    for name in LADDER:
        found = _try(plan.model, plan.gpu, plan.recipe, sharding=name)
        if found is not None and found.fits:
            return name
    return None


def fewest_gpus(model: Model, gpu: Gpu, recipe: Recipe) -> Recipe | None:
    """The smallest number of GPUs with this sharding that fits, None if none of those tried does.

    Data parallel first, then tensor parallel within a machine, then pipeline stages: powers of two,
    times the context-parallel size.
    """
    for changed in _splits(recipe, gpu.joined_gpus):
        found = _try(model, gpu, recipe, **changed)
        if found is not None and found.fits:
            return found.recipe
    return None


def _splits(recipe: Recipe, joined_gpus: int) -> Iterator[dict[str, object]]:
    context = recipe.context_parallel_size
    for copies in (n for n in COPIES if n * context <= MOST_GPUS):
        for tp in (n for n in GPU_COUNTS if n <= min(copies, joined_gpus)):
            for pp in (n for n in GPU_COUNTS if n * tp <= copies):
                data = copies // (tp * pp)
                yield {
                    "tensor_parallel_size": tp,
                    "pipeline_parallel_size": pp,
                    "data_parallel_size": data,
                    "expert_parallel_size": min(data * context, recipe.expert_parallel_size),
                    "gradient_accumulation_steps": max(pp, recipe.gradient_accumulation_steps),
                }


def _try(model: Model, gpu: Gpu, recipe: Recipe, **changes: object) -> TrainingPlan | None:
    try:
        return plan_training(model, gpu, recipe.replace(**changes))
    except PlanRefused:
        return None
