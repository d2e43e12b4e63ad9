"""What data-parallel ranks send each other in a step: what, how often, how many bytes.

DDP all-reduces gradients once a step. So does DeepSpeed's ZeRO-1, and ZeRO-2 after every
micro-batch, since each rank keeps its own part only; use_multi_rank_bucket_allreduce=False reduces
to the owner alone, as the ZeRO paper and Megatron-LM do (DeepSpeed 0.19.8 zero/stage_1_and_2.py
`average_tensor`). Both gather updated parameters once.

FSDP2 gathers a layer for both passes of a micro-batch and its root for one, and reduce-scatters
after every micro-batch (PyTorch 2.13 torch/distributed/fsdp/_fully_shard: `_fsdp_state.py`
_lazy_init, `_fsdp_param_group.py` post_backward). Pipeline stages reduce after the last micro-batch
and reshard nothing after a backward pass before it (torch/distributed/pipelining/stage.py): a layer
that is resharded after forward is gathered once a micro-batch and once more, any other once a step
(torchtitan's default, llama3/infra/parallelize.py `apply_fsdp`).

ZeRO-3 gathers for both passes too, but frees none of the stage3_max_live_parameters that backward
reaches first: DeepSpeed 0.19.8 gathered 0.94 to 1.0 times as many parameters only once, 0.9 with
recomputed layers, where its prefetching is on; without prefetching half as many.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.training.plan import TrainingPlan
from planner.training.recipe import Recipe
from planner.training.states import parameter_bytes, reduced_bytes
from planner.training.tensors import Held


@dataclass(frozen=True, slots=True)
class Exchange:
    """A gather of `bytes` on `ranks`, or a reduce-scatter; an all-reduce is one of each.

    (ranks - 1) / ranks of the bytes leave each rank, each of `times` a step.
    """

    what: str
    times: int
    bytes: int
    ranks: int

    @property
    def sent_bytes(self) -> int:
        """What leaves one rank each time."""
        return self.bytes * (self.ranks - 1) // self.ranks


def reductions(recipe: Recipe) -> int:
    """How often a step's gradients are reduced."""
    waits = recipe.stage < 2 or recipe.pipeline_parallel_size > 1
    return 1 if waits else recipe.gradient_accumulation_steps


def gathers(recipe: Recipe, outside: bool) -> int:
    """How often a step gathers a tensor of a layer, or one outside the layers, at stage 3."""
    batches, resharded = recipe.gradient_accumulation_steps, recipe.reshard_after_forward
    if recipe.sharding == "fsdp2":
        if recipe.pipeline_parallel_size > 1:
            return batches + 1 if resharded == "always" else 1
        if resharded == "never" or (outside and resharded == "default"):
            return batches
    return 2 * batches


def kept_share(plan: TrainingPlan) -> float:
    """Of ZeRO-3's parameters, those that backward finds still gathered.

    4-bit codes count as what they are stored in, which is to be the dtype of training.
    """
    recipe = plan.recipe
    if recipe.sharding != "zero3":
        return 0.0
    each = parameter_bytes(recipe)
    whole = sum(t.gathered_bytes(each) for t in plan.stage.held)
    return min(1.0, each * recipe.stage3_max_live_parameters / whole)


def exchanges(plan: TrainingPlan) -> tuple[Exchange, ...]:
    """Those of one step on the stage that binds; experts have ranks of their own."""
    recipe, found = plan.recipe, []
    for expert in (False, True):
        held = [t for t in plan.stage.held if t.expert == expert]
        ranks = recipe.replicas(expert)
        if ranks > 1 and held:
            name = "expert " if expert else ""
            for what, times, size in _exchanges(held, plan):
                if times * size:
                    found.append(Exchange(name + what, times, size, ranks))
    return tuple(found)


def _exchanges(held: list[Held], plan: TrainingPlan) -> Iterator[tuple[str, int, int]]:
    recipe = plan.recipe
    trainable = sum(t.parameters for t in held if t.trainable)
    reduced, times = reduced_bytes(recipe) * trainable, reductions(recipe)
    yield "gradients reduced", times, reduced
    if recipe.stage == 0 or (recipe.stage < 3 and recipe.use_multi_rank_bucket_allreduce):
        yield "gradients gathered", times, reduced
    if recipe.stage in (1, 2):
        yield "parameters gathered", 1, parameter_bytes(recipe) * trainable
    if recipe.stage < 3:
        return
    for outside, name in ((False, "layers"), (True, "parameters outside the layers")):
        size = sum(t.gathered_bytes(parameter_bytes(recipe)) for t in held if t.outside == outside)
        kept = int(kept_share(plan) * size)
        times = gathers(recipe, outside)
        yield f"{name} gathered", times, size - kept
        yield f"{name} gathered for both passes", times // 2, kept
