"""Time of an optimizer step, MFU and cost, from the roofline: an estimate with its range.

MFU counts the model's own FLOPs only (Chowdhery et al. 2022, PaLM), HFU the recomputed ones too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.cost import SECONDS_PER_HOUR
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.offer import Offer
from planner.timing.roofline import peaks_of, roofs_of
from planner.timing.speed import Speed
from planner.training.compute import micro_batch
from planner.training.offload import Transfer, transfers
from planner.training.plan import TrainingPlan
from planner.training.schedule import bubble
from planner.training.traffic import traffic

FRAMEWORK = (0.95, 1.2, 1.8)
FRAMEWORK_SOURCE = (
    "training takes 0.95 to 1.8 times the kernels' own time: torchtitan reports 56 to 58 % MFU on "
    "A100s and 33 to 39 % on H100s held at 500 W (docs/performance.md, Llama 3 8B)"
)


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one optimizer step by what they go into; low and high bound the total.

    tensor_s, ring_s, stage_s and transfers are on the critical path; data_s is taken as half hidden
    behind the backward pass, and data_bytes are those that a GPU sends in it.
    """

    compute_s: float
    tensor_s: float
    ring_s: float
    stage_s: float
    data_s: float
    data_bytes: int
    bubble_s: float
    optimizer_s: float
    transfers: tuple[Transfer, ...]
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
        links = self.tensor_s + self.ring_s + self.stage_s + self.data_s / 2
        moved = sum(t.seconds for t in self.transfers)
        return self.compute_s + links + self.bubble_s + self.optimizer_s + moved

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.total_s

    @property
    def mfu(self) -> float:
        return self.model_flops / (self.total_s * self.gpus * self.peak_flops_per_s)

    @property
    def hfu(self) -> float:
        return self.hardware_flops / (self.total_s * self.gpus * self.peak_flops_per_s)

    def usd_per_billion_tokens(self, price: Offer) -> float:
        hours = 1e9 / self.tokens_per_s / SECONDS_PER_HOUR
        return price.usd_per_hour(self.gpus) * hours


def step_time(plan: TrainingPlan, speed: Speed) -> StepTime:
    """The StepTime of `plan`. Raises PlanRefused where a rate that it needs is unknown."""
    recipe = plan.recipe
    batches = recipe.gradient_accumulation_steps
    stages = [micro_batch(plan, i, speed) for i in range(recipe.pipeline_parallel_size)]
    slowest = max(stages, key=lambda stage: stage.seconds)
    low, usual, high = FRAMEWORK
    compute = usual * batches * slowest.seconds
    links = traffic(plan, slowest)
    beside = links.tensor_s + links.ring_s + links.stage_s
    idle = float(bubble(recipe)) * (compute + beside)
    optimizer = _optimizer_s(plan, speed)
    on_gpus = compute + beside + idle + optimizer
    moved = transfers(plan)
    ranks = batches * recipe.gpus / recipe.pipeline_parallel_size
    return StepTime(
        compute_s=compute,
        tensor_s=links.tensor_s,
        ring_s=links.ring_s,
        stage_s=links.stage_s,
        data_s=links.data_s,
        data_bytes=links.data_bytes,
        bubble_s=idle,
        optimizer_s=optimizer,
        transfers=moved,
        low_s=low / usual * on_gpus + sum(t.low_s for t in moved),
        high_s=high / usual * (on_gpus + links.data_s) + sum(t.high_s for t in moved),
        tokens=recipe.step_tokens,
        model_flops=ranks * sum(stage.model_flops for stage in stages),
        hardware_flops=ranks * sum(stage.hardware_flops for stage in stages),
        peak_flops_per_s=_peak(plan.gpu, recipe.precision),
        gpus=recipe.gpus,
        source="; ".join(_sources(plan, speed)),
    )


def _peak(gpu: Gpu, precision: str) -> float:
    """Published, also where the card was measured; its own roofs where nothing is published."""
    try:
        return peaks_of(gpu).flops_per_s(precision)
    except PlanRefused:
        return roofs_of(gpu).flops_per_s(precision)


def _sources(plan: TrainingPlan, speed: Speed) -> Iterator[str]:
    yield speed.source_for(plan.model)
    yield FRAMEWORK_SOURCE
    if plan.recipe.attention != "flash":
        yield "attention is timed as flash attention; stored scores take longer"


def _optimizer_s(plan: TrainingPlan, speed: Speed) -> float:
    """States on the GPU read and written once; nothing where the optimizer runs on the host."""
    if plan.recipe.offload_optimizer != "none":
        return 0.0
    states = plan.stage.states.states
    here = sum(s.bytes for s in states if s.place == "none" and s.name != "frozen parameters")
    return 2 * here / speed.roofs.copy_bytes_per_s
