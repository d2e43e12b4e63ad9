"""What training takes: GPU, host and NVMe bytes of every pipeline stage, and whether it fits.

plan = plan_training(model, load_gpu("h100-sxm5-80gb"), Recipe(data_parallel_size=8))
plan.total_bytes, plan.fits, plan.host.bytes
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod

from planner import overheads
from planner.estimate import Estimate
from planner.hardware import Gpu
from planner.memo import memo
from planner.model import LayerGroup, Model
from planner.parallelism import layers_in, stage_groups
from planner.training import buffers
from planner.training.checks import check
from planner.training.loss import loss_bytes, outside_bytes
from planner.training.moments import LayerMoments, layer_moments, tied_gradient_bytes
from planner.training.recipe import Place, Recipe
from planner.training.saved import Saved, kept_bytes, layer_saved
from planner.training.schedule import in_flight
from planner.training.states import State, States, states
from planner.training.tensors import Held, layer_tensors, stage_tensors

SCHEMA_VERSION = 1
NONE = Estimate(0, 0, 0, "not on this stage")


@dataclass(frozen=True, slots=True)
class LayerPart:
    """Layers of one group on a stage: what one keeps, and its moments."""

    group: LayerGroup
    count: int
    saved: tuple[Saved, ...]
    kept_bytes: int
    moments: LayerMoments


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One rank of a pipeline stage."""

    index: int
    layers: range
    held: tuple[Held, ...]
    states: States
    parts: tuple[LayerPart, ...]
    in_flight: float
    kept_bytes: int
    loss: Estimate
    layer_peak_bytes: int
    buffers: dict[str, Estimate]
    runtime: dict[str, Estimate]

    @property
    def transient_bytes(self) -> int:
        """Above the kept activations: the loss, or one layer's backward, whichever is more."""
        return max(self.loss.bytes, self.layer_peak_bytes)

    @property
    def activation_bytes(self) -> int:
        return self.kept_bytes + self.transient_bytes

    @property
    def fragmentation(self) -> Estimate:
        return buffers.fragmentation(self.activation_bytes)

    @property
    def tensor_bytes(self) -> int:
        """What tensors take at the peak: all but run time, buffers and fragmentation."""
        return self.states.gpu_bytes + self.activation_bytes

    @property
    def estimates(self) -> dict[str, Estimate]:
        return {**self.buffers, "fragmentation": self.fragmentation, **self.runtime}

    @property
    def total_bytes(self) -> int:
        return self.tensor_bytes + sum(e.bytes for e in self.estimates.values())

    @property
    def range_bytes(self) -> tuple[int, int]:
        """The total with every estimate at its low and at its high end."""
        fixed = self.states.gpu_bytes + self.kept_bytes
        others = self.estimates.values()
        low = max(self.loss.low_bytes, self.layer_peak_bytes)
        high = max(self.loss.high_bytes, self.layer_peak_bytes)
        return (
            fixed + low + sum(e.low_bytes for e in others),
            fixed + high + sum(e.high_bytes for e in others),
        )


@dataclass(frozen=True)
class TrainingPlan:
    """The whole answer. Bytes are those of the stage that binds unless they say otherwise."""

    model: Model
    gpu: Gpu
    recipe: Recipe
    stages: tuple[StagePlan, ...]

    @cached_property
    def stage(self) -> StagePlan:
        return max(self.stages, key=lambda stage: stage.total_bytes)

    @property
    def total_bytes(self) -> int:
        return self.stage.total_bytes

    @property
    def fits(self) -> bool:
        return self.total_bytes <= self.gpu.memory_bytes

    @property
    def headroom_bytes(self) -> int:
        return self.gpu.memory_bytes - self.total_bytes

    @property
    def state_parts(self) -> tuple[State, ...]:
        return self.stage.states.states

    @property
    def host(self) -> Estimate:
        """Host memory of the fullest machine: states moved there, buffers for NVMe."""
        ranks = min(self.recipe.gpus, self.recipe.gpus_per_node)
        if self.recipe.sharding == "fsdp2":
            return buffers.pinned_host(
                ranks * self._moved("cpu"), ranks * self._moved("cpu", "optimizer states")
            )
        moved = buffers.host(ranks * self._moved("cpu"))
        if not self._moved("nvme"):
            return moved
        largest = max(
            prod(w.shape) for g in self.model.groups for w in g.weights(self.model.hidden_size)
        )
        pinned = buffers.nvme_buffers(largest)
        return Estimate(
            moved.bytes + ranks * pinned.bytes,
            moved.low_bytes + ranks * pinned.low_bytes,
            moved.high_bytes + ranks * pinned.high_bytes,
            pinned.source,
        )

    @property
    def nvme_bytes(self) -> int:
        """NVMe of the fullest machine."""
        return min(self.recipe.gpus, self.recipe.gpus_per_node) * self._moved("nvme")

    def _moved(self, place: Place, without: str = "") -> int:
        sizes = [
            sum(s.bytes for s in stage.states.states if s.place == place and s.name != without)
            for stage in self.stages
        ]
        return max(sizes)


def plan_training(model: Model, gpu: Gpu, recipe: Recipe) -> TrainingPlan:
    """The TrainingPlan. Raises PlanRefused where recipe and model contradict each other."""
    check(model, recipe)
    gpu.check_joins(recipe.gpus)
    batchless = recipe.replace(
        sequence_length=recipe.context_parallel_size, micro_batch_size=1,
        gradient_accumulation_steps=1, attention="flash", recomputation="none",
        pipeline_schedule="1f1b", loss="eager",
    )  # fmt: skip
    found = _stage_states(model, batchless)
    measured = None if gpu.calibration is None else gpu.calibration.memory
    runtime = overheads.runtime(
        gpus_per_replica=recipe.gpus, expert_parallel=recipe.expert_parallel_size > 1,
        enforce_eager=True, measured=measured,
    )  # fmt: skip
    loss = loss_bytes(model, recipe)
    parts = {id(group): _part(model, group, recipe) for group in model.groups}
    stages = []
    groups = stage_groups(model, recipe.pipeline_parallel_size)
    for index, (held, stored, largest) in enumerate(found):
        span = groups[index][0][1]
        own = tuple(
            LayerPart(g, layers_in(g, span), *parts[id(g)]) for g, _ in groups[index]
        )  # fmt: skip
        last = index == len(groups) - 1
        batches = in_flight(recipe, index)
        kept = sum(part.count * part.kept_bytes for part in own)
        kept += outside_bytes(model, recipe, first=index == 0, last=False)
        kept = -(-batches.numerator * kept // batches.denominator)
        kept += outside_bytes(model, recipe, first=False, last=last)
        stages.append(
            StagePlan(
                index,
                span,
                held,
                stored,
                own,
                float(batches),
                kept,
                loss if last else NONE,
                max(part.moments.largest for part in own)
                + tied_gradient_bytes(model, held, recipe, last and index == 0),
                buffers.buffers(held, stored, recipe, model.hidden_size, largest),
                runtime,
            )
        )
    return TrainingPlan(model, gpu, recipe, tuple(stages))


def _part(
    model: Model, group: LayerGroup, recipe: Recipe
) -> tuple[tuple[Saved, ...], int, LayerMoments]:
    saved = layer_saved(group, model.hidden_size, recipe)
    held = tuple(layer_tensors(group.weights(model.hidden_size), recipe))
    return (
        saved,
        kept_bytes(saved, recipe, model.hidden_size),
        layer_moments(group, saved, held, model.hidden_size, recipe),
    )


@memo(maxsize=256)
def _stage_states(
    model: Model, recipe: Recipe
) -> tuple[tuple[tuple[Held, ...], States, tuple[Held, ...]], ...]:
    """Tensors and states of each stage, which no batch changes, and its largest layer's tensors."""
    found = []
    groups = stage_groups(model, recipe.pipeline_parallel_size)
    for held, own in zip(stage_tensors(model, recipe), groups, strict=True):
        layer = max(
            (tuple(layer_tensors(g.weights(model.hidden_size), recipe)) for g, _ in own),
            key=lambda tensors: sum(t.parameters for t in tensors),
        )
        module = max(prod(t.shape) for t in held)
        found.append((held, states(held, recipe, module), layer))
    return tuple(found)
