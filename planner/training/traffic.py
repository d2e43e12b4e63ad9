"""What GPUs send each other in one optimizer step: seconds that a rank's links are busy.

Tensor-parallel layers sum twice in each direction, experts trade tokens twice. A context ring
passes keys and values around in every pass, and backward their gradients too. Pipeline stages hand
on activations and get gradients back. `planner.training.exchanges` has what data-parallel ranks
send each other.
"""

from dataclasses import dataclass

from planner.kinds.mlp import MoE
from planner.timing.collectives import (
    all_gather_s,
    all_reduce_s,
    all_to_all_s,
    link_between,
    send_s,
)
from planner.timing.messages import ring_messages
from planner.training.compute import ATTENTION_BACKWARD, Compute
from planner.training.exchanges import exchanges
from planner.training.plan import TrainingPlan

RING_BACKWARD = 2
"""Keys and values go around again, and their gradients with them."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Seconds of one step on the links of a rank; ring_s is what attention does not hide.

    data_bytes: what data parallelism has it send.
    """

    tensor_s: float
    ring_s: float
    stage_s: float
    data_s: float
    data_bytes: int


def traffic(plan: TrainingPlan, computed: Compute) -> Traffic:
    """The Traffic of `plan`, whose micro-batches compute as `computed`."""
    batches = plan.recipe.gradient_accumulation_steps
    return Traffic(
        batches * _tensor_s(plan),
        batches * _ring_s(plan, computed),
        batches * _stage_s(plan),
        _data_s(plan),
        sum(each.times * each.sent_bytes for each in exchanges(plan)),
    )


def _passes(plan: TrainingPlan) -> int:
    return 3 if plan.recipe.recomputation == "full" else 2


def _tensor_s(plan: TrainingPlan) -> float:
    recipe, model = plan.recipe, plan.model
    size = recipe.micro_batch_tokens * model.hidden_size * recipe.element_bytes
    layers = max(len(stage.layers) for stage in plan.stages)
    total = 0.0
    tp, ep = recipe.tensor_parallel_size, recipe.expert_parallel_size
    if tp > 1:
        total += layers * 2 * all_reduce_s(size, tp, link_between(plan.gpu, tp))
    if ep > 1:
        link = link_between(plan.gpu, ep)
        sent = max(
            sum(
                part.count * all_to_all_s(size * moe.num_experts_per_tok, ep, link)
                for part in stage.parts
                if isinstance(moe := part.group.mlp, MoE)
            )
            for stage in plan.stages
        )
        total += 2 * sent
    return _passes(plan) * total


def _ring_s(plan: TrainingPlan, computed: Compute) -> float:
    recipe = plan.recipe
    ring = recipe.context_parallel_size
    if ring == 1:
        return 0.0
    deployment = recipe.deployment().replace(
        context_parallel_size=ring, weights_dtype=recipe.precision
    )
    model = plan.model.model_copy(update={"dtype": recipe.dtype})
    once = max(
        sum(
            float(m.seconds(link_between(plan.gpu, m.ranks)))
            for m in ring_messages(model, deployment, recipe.micro_batch_tokens, stage.layers)
        )
        for stage in plan.stages
    )
    forward = max(0.0, once - computed.attention_s)
    behind = ATTENTION_BACKWARD[recipe.attention] * computed.attention_s
    again = 0 if recipe.recomputation == "none" else 1
    return (1 + again) * forward + max(0.0, RING_BACKWARD * once - behind)


def _stage_s(plan: TrainingPlan) -> float:
    """A stage's sends in both directions, for each of its chunks."""
    recipe = plan.recipe
    stages = recipe.pipeline_parallel_size
    if stages == 1:
        return 0.0
    chunks = recipe.virtual_stages if recipe.pipeline_schedule == "interleaved" else 1
    cut = recipe.tensor_parallel_size if recipe.sequence_parallel else 1
    edge = recipe.micro_batch_tokens * plan.model.hidden_size * recipe.element_bytes / cut
    reach = stages * recipe.tensor_parallel_size * recipe.context_parallel_size
    return 2 * chunks * float(send_s(edge, link_between(plan.gpu, reach)))


def _data_s(plan: TrainingPlan) -> float:
    recipe = plan.recipe
    reach = recipe.shards * recipe.tensor_parallel_size * recipe.pipeline_parallel_size
    link = link_between(plan.gpu, reach)
    return sum(
        each.times * float(all_gather_s(each.bytes, each.ranks, link))
        for each in exchanges(plan)
    )  # fmt: skip
