"""Time of an optimizer step, MFU and cost, from the roofline: an estimate with its range.

A backward pass does twice the work of a forward one (Kaplan et al. 2020: 6 FLOPs per parameter and
token); full recomputation adds a forward pass, selective the attention. MFU counts the model's own
FLOPs only (Chowdhery et al. 2022, PaLM), HFU the recomputed ones too.
"""

from dataclasses import dataclass

from planner.formats.dtypes import NAME_OF_DTYPE
from planner.kinds.mlp import MoE
from planner.model import Model
from planner.parallelism import stage_groups
from planner.timing.collectives import all_gather_s, all_reduce_s, all_to_all_s, link_between
from planner.timing.roofline import Costs, Work, roofs_of, time_s
from planner.timing.speed import Speed
from planner.timing.step_costs import step_costs
from planner.training.plan import TrainingPlan
from planner.training.recipe import Recipe
from planner.training.schedule import bubble
from planner.units import ceil_div

SECONDS_PER_HOUR = 3600
FRAMEWORK = (0.95, 1.2, 1.8)
FRAMEWORK_SOURCE = (
    "training takes 0.95 to 1.8 times the kernels' own time: torchtitan reports 56 to 58 % MFU on "
    "A100s and 33 to 39 % on H100s held at 500 W (docs/performance.md, Llama 3 8B)"
)


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one optimizer step by what they go into; low and high bound the total.

    tensor_s is on the critical path; data_s is taken as half hidden behind the backward pass.
    """

    compute_s: float
    tensor_s: float
    data_s: float
    bubble_s: float
    optimizer_s: float
    low_s: float
    high_s: float
    tokens: int
    model_flops: float
    hardware_flops: float
    peak_flops_per_s: float
    gpus: int
    source: str

    @property
    def total_s(self) -> float:
        return self.compute_s + self.tensor_s + self.data_s / 2 + self.bubble_s + self.optimizer_s

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.total_s

    @property
    def mfu(self) -> float:
        return self.model_flops / (self.total_s * self.gpus * self.peak_flops_per_s)

    @property
    def hfu(self) -> float:
        return self.hardware_flops / (self.total_s * self.gpus * self.peak_flops_per_s)

    def usd_per_billion_tokens(self, usd_per_gpu_hour: float) -> float:
        hours = 1e9 / self.tokens_per_s / SECONDS_PER_HOUR
        return usd_per_gpu_hour * self.gpus * hours


def step_time(plan: TrainingPlan, speed: Speed) -> StepTime:
    """The StepTime of `plan`. Raises PlanRefused where the GPU's rates are unknown."""
    recipe = plan.recipe
    batches = recipe.gradient_accumulation_steps
    passes = [_forward(plan, i) for i in range(recipe.pipeline_parallel_size)]
    slowest, flops = 0.0, [0.0, 0.0]
    for costs, core in passes:
        forward = time_s(costs, speed.roofs, speed.efficiencies)
        again = forward if recipe.recomputation == "full" else 0.0
        if recipe.recomputation == "selective":
            again = time_s(core, speed.roofs, speed.efficiencies)
        extra = {"full": costs.flops, "selective": core.flops, "none": 0}[recipe.recomputation]
        weight_gradients = 2.0 if recipe.lora is None else 1.0
        slowest = max(slowest, forward * (1 + weight_gradients) + again)
        flops[0] += (1 + weight_gradients) * costs.flops
        flops[1] += (1 + weight_gradients) * costs.flops + extra
    scale = recipe.tensor_parallel_size * recipe.context_parallel_size
    scale *= recipe.data_parallel_size * batches
    low, usual, high = FRAMEWORK
    compute = usual * batches * slowest / recipe.context_parallel_size
    tensor, data = batches * _tensor_s(plan), _data_s(plan)
    idle = float(bubble(recipe)) * (compute + tensor)
    optimizer = _optimizer_s(plan, speed)
    central = compute + tensor + data / 2 + idle + optimizer
    roofs = roofs_of(plan.gpu)
    cp = recipe.context_parallel_size
    return StepTime(
        compute, tensor, data, idle, optimizer,
        low / usual * (central - data / 2), high / usual * (central + data / 2),
        recipe.step_tokens, flops[0] * scale / cp, flops[1] * scale / cp,
        roofs.flops_per_s(recipe.precision), recipe.gpus,
        f"{speed.source}; {FRAMEWORK_SOURCE}",
    )  # fmt: skip


def _forward(plan: TrainingPlan, stage: int) -> tuple[Costs, Costs]:
    """Launches of one micro-batch's forward pass on a rank of a stage, and attention's alone."""
    recipe, model = plan.recipe, plan.model
    span = stage_groups(model, recipe.pipeline_parallel_size)[stage][0][1]
    model = model.model_copy(update={"dtype": recipe.dtype})
    s = recipe.sequence_length
    contexts = {s: recipe.micro_batch_size}
    deployment = recipe.deployment().replace(weights_dtype=recipe.precision)
    costs = step_costs(model, deployment, "prefill", s, contexts, span)
    work = [w for w in costs.work if w.part != "head"]
    if stage == recipe.pipeline_parallel_size - 1:
        work.append(_head(model, recipe.micro_batch_size * s, recipe))
    core = tuple(w for w in work if w.part == "attention")
    return Costs(tuple(work)), Costs(core)


def _head(model: Model, tokens: int, recipe: Recipe) -> Work:
    rows, e = ceil_div(model.vocab_size, recipe.tensor_parallel_size), recipe.element_bytes
    numbers = NAME_OF_DTYPE[recipe.dtype]
    return Work(
        "matmul", numbers, "head", 1, numbers, 2 * tokens * rows * model.hidden_size,
        e * rows * model.hidden_size, activation_bytes=e * tokens * (rows + model.hidden_size),
    )  # fmt: skip


def _tensor_s(plan: TrainingPlan) -> float:
    """All-reduces of one micro-batch: two a layer in each direction; experts' all-to-alls."""
    recipe, model = plan.recipe, plan.model
    size = recipe.micro_batch_tokens * model.hidden_size * recipe.element_bytes
    layers = max(len(stage.layers) for stage in plan.stages)
    passes = 3 if recipe.recomputation == "full" else 2
    total = 0.0
    tp, ep = recipe.tensor_parallel_size, recipe.expert_parallel_size
    if tp > 1:
        total += passes * layers * 2 * all_reduce_s(size, tp, link_between(plan.gpu, tp))
    if ep > 1:
        for stage in plan.stages[:1]:
            for part in stage.parts:
                if isinstance(part.group.mlp, MoE):
                    sent = size * part.group.mlp.num_experts_per_tok
                    each = all_to_all_s(sent, ep, link_between(plan.gpu, ep))
                    total += passes * 2 * part.count * each
    return total


def _data_s(plan: TrainingPlan) -> float:
    """Gradients once a step; ZeRO-3 and FSDP gather parameters twice a micro-batch besides."""
    recipe = plan.recipe
    ranks = recipe.shards
    if ranks == 1:
        return 0.0
    reach = ranks * recipe.tensor_parallel_size * recipe.pipeline_parallel_size
    link = link_between(plan.gpu, reach)
    states = plan.stage.states
    seconds = float(all_reduce_s(2 * states.trainable, ranks, link))
    if recipe.stage == 3:
        gathers = 2 * recipe.gradient_accumulation_steps - 1
        seconds += gathers * float(all_gather_s(2 * states.parameters, ranks, link))
    return seconds


def _optimizer_s(plan: TrainingPlan, speed: Speed) -> float:
    """States read and written once; what lies on the host crosses PCIe both ways."""
    states = plan.stage.states.states
    here = sum(s.bytes for s in states if s.place == "none" and s.name != "frozen parameters")
    seconds = 2 * here / speed.roofs.copy_bytes_per_s
    moved = sum(s.bytes for s in states if s.place != "none" and s.name == "gradients")
    if moved:
        pcie = plan.gpu.pcie_bytes_per_s or 32 * 10**9
        seconds += 2 * moved / pcie
    return seconds
