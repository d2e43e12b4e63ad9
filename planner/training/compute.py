"""Arithmetic of one micro-batch on one rank of a pipeline stage: forward, backward, recomputed.

A matmul's backward pass is its input's gradient and its weight's: twice the forward one (Kaplan et
al. 2020), once where the weight is frozen. Attention has no weights and two products forward; its
backward is four, and five where flash attention computes the scores again (Dao 2023). Elementwise
kernels read and write about twice as much backward, whatever is trained. Each pass writes 4-bit
matrices out in 16 bits before it multiplies them (Dettmers et al. 2023, QLoRA), of 8-bit ones the
backward pass only: forward multiplies in int8 (bitsandbytes, autograd/_functions.py MatMul8bitLt).
"""

from dataclasses import dataclass

from planner.formats.dtypes import NAME_OF_DTYPE
from planner.model import Model
from planner.parallelism import stage_groups
from planner.timing.roofline import Costs, Work, time_s
from planner.timing.speed import Speed
from planner.timing.step_costs import step_costs
from planner.training.plan import TrainingPlan
from planner.training.recipe import Recipe
from planner.training.states import SCALE_BYTES, parameter_bytes
from planner.units import ceil_div

MATMULS = ("matmul", "grouped_matmul")
ATTENTION_BACKWARD = {"flash": 2.5, "naive": 2.0, "naive_16_bit": 2.0}
"""Products of attention's backward pass over those of its forward pass."""
ELEMENTWISE_BACKWARD = 2.0


@dataclass(frozen=True, slots=True)
class Compute:
    """Seconds of one micro-batch, and FLOPs: the model's own, and with what is done again.

    attention_s: of its forward pass alone, in which a ring's sending hides.
    """

    seconds: float
    attention_s: float
    model_flops: float
    hardware_flops: float


def micro_batch(plan: TrainingPlan, stage: int, speed: Speed) -> Compute:
    """What one rank of `stage` computes. Raises PlanRefused where the GPU's rates are unknown."""
    recipe = plan.recipe
    parts = _parts(_forward(plan, stage))
    forward_s = {
        name: time_s(costs, speed.roofs, speed.efficiencies) / recipe.context_parallel_size
        for name, costs in parts.items()
    }
    flops = {name: costs.flops / recipe.context_parallel_size for name, costs in parts.items()}
    products = 1.0 if recipe.lora else 2.0
    done = {
        "matmul": 1 + products,
        "head": 1 + products,
        "attention": 1 + ATTENTION_BACKWARD[recipe.attention],
        "elementwise": 1 + ELEMENTWISE_BACKWARD,
    }
    own = {**done, "attention": 3.0}
    for name in _recomputed(recipe):
        done[name] += 1
    moved = _dequantised_bytes(plan, stage, done["matmul"])
    written = moved / speed.roofs.copy_bytes_per_s
    return Compute(
        written + sum(done[name] * seconds for name, seconds in forward_s.items()),
        forward_s["attention"],
        sum(own[name] * found for name, found in flops.items()),
        sum(done[name] * found for name, found in flops.items()),
    )


def _dequantised_bytes(plan: TrainingPlan, stage: int, passes: float) -> float:
    """Read and written to have every quantised matrix in 16 bits in as many passes."""
    each = parameter_bytes(plan.recipe)
    times = {"16-bit": 0, "int8": 1, "nf4": passes}
    return sum(
        times[t.base]
        * (t.gathered_bytes(each) + (SCALE_BYTES.get(t.base, 0) + each) * t.parameters)
        for t in plan.stages[stage].held
    )


def _recomputed(recipe: Recipe) -> tuple[str, ...]:
    """Parts whose forward pass is repeated; the head lies outside the layers."""
    return {
        "none": (), "selective": ("attention",), "full": ("attention", "matmul", "elementwise"),
    }[recipe.recomputation]  # fmt: skip


def _parts(costs: Costs) -> dict[str, Costs]:
    found: dict[str, list[Work]] = {"attention": [], "matmul": [], "head": [], "elementwise": []}
    for work in costs.work:
        kind = "matmul" if work.kernel in MATMULS else "elementwise"
        found[work.part if work.part in found else kind].append(work)
    return {name: Costs(tuple(works)) for name, works in found.items()}


def _forward(plan: TrainingPlan, stage: int) -> Costs:
    """Launches of one micro-batch's forward pass over whole sequences."""
    recipe = plan.recipe
    model = plan.model.model_copy(update={"dtype": recipe.dtype})
    span = stage_groups(model, recipe.pipeline_parallel_size)[stage][0][1]
    s = recipe.sequence_length
    deployment = recipe.deployment().replace(weights_dtype=recipe.precision)
    costs = step_costs(model, deployment, "prefill", s, {s: recipe.micro_batch_size}, span)
    work = [w for w in costs.work if w.part != "head"]
    if stage == recipe.pipeline_parallel_size - 1:
        work.append(_head(model, recipe.micro_batch_size * s, recipe))
    return Costs(tuple(work))


def _head(model: Model, tokens: int, recipe: Recipe) -> Work:
    """Of every token, where serving computes it for the last one of a prompt."""
    rows, e = ceil_div(model.vocab_size, recipe.tensor_parallel_size), recipe.element_bytes
    numbers = NAME_OF_DTYPE[recipe.dtype]
    return Work(
        "matmul", numbers, "head", 1, numbers, 2 * tokens * rows * model.hidden_size,
        e * rows * model.hidden_size, activation_bytes=e * tokens * (rows + model.hidden_size),
    )  # fmt: skip
