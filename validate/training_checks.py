"""Peak memory of real training steps, predicted by planner.training: within 5 %."""

from collections.abc import Iterator
from typing import Any

from planner.hardware import custom_gpu
from planner.training.plan import plan_training
from planner.training.recipe import Recipe
from planner.units import GIB
from validate.bench import Bench
from validate.inputs import model_of
from validate.memory_meter import meter
from validate.record import Case, measured, skipped
from validate.training_stack import TrainingStack, refusal

TOLERANCE = 0.05
STEPS = 2


def training_cases(bench: Bench, name: str, settings: list[dict[str, Any]]) -> Iterator[Case]:
    """Steps of the model `name`; settings: fields of planner.training.recipe.Recipe.

    Two micro-batches a step, so that gradients are allocated while activations are at their peak.
    """
    model = model_of(name)
    for setting in settings:
        recipe = Recipe(sharding="ddp", gradient_accumulation_steps=2, **setting)
        plan = plan_training(model, custom_gpu(64 * GIB), recipe)
        label = (
            f"{recipe.attention}, {recipe.micro_batch_size} x {recipe.sequence_length:,} tokens"
            + (", recomputed" if recipe.recomputation == "full" else "")
        )
        stage = plan.stage
        case = Case(
            f"training/{name}/{label}".replace(" ", "-").replace(",", ""), "training",
            f"Training step of {name}, {label}", "bytes",
            "planner.training: states, kept activations, loss or one layer's backward",
            stage.tensor_bytes, tolerance=TOLERANCE,
            details={
                "states_bytes": stage.states.gpu_bytes, "kept_bytes": stage.kept_bytes,
                "loss_bytes": stage.loss.bytes, "layer_bytes": stage.layer_peak_bytes,
            },
        )  # fmt: skip
        if why := refusal(model):
            yield skipped(case, why)
            continue
        with meter(bench) as found:
            stack = TrainingStack(bench, model, recipe)
            losses = [stack.step() for _ in range(STEPS)]
        del stack
        bench.free_memory()
        if not all(loss == loss for loss in losses):
            raise ArithmeticError(f"the loss is no number after {STEPS} steps of {name}")
        yield measured(case, [found.peak_bytes], losses=losses)
