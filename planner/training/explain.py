"""The arithmetic of a training plan, line by line; lines in_total add up to the binding GPU."""

from collections.abc import Iterator

from planner.explain.step import Step
from planner.model import kind_name
from planner.training.plan import TrainingPlan
from planner.training.saved import bytes_of
from planner.training.states import State
from planner.units import counted, format_bytes

LABELS = {
    "ddp_buckets": "Gradient buckets",
    "zero_buckets": "Communication buckets",
    "fsdp_gathered": "Gathered layers",
    "pipeline_buffers": "Pipeline buffers",
    "dequantised_matrix": "Dequantised matrix",
    "fragmentation": "Fragmentation",
    "context": "CUDA context",
    "libraries": "Matrix libraries",
    "collectives": "Collectives",
    "all_to_all": "All-to-all",
}


def derivation(plan: TrainingPlan) -> tuple[Step, ...]:
    """Every step from the inputs to the total of the binding GPU."""
    stage = plan.stage
    return (
        *_states(plan),
        *_activations(plan),
        *(
            Step(
                f"{LABELS.get(name, name)} (estimate)", "measured or documented elsewhere",
                f"{e.low_bytes:,} to {e.high_bytes:,}; {e.source}", e.bytes, in_total=True,
            )
            for name, e in stage.estimates.items()
        ),
        Step(
            "Total per GPU", "sum of the lines above",
            f"stage {stage.index + 1} of {len(plan.stages)} binds", plan.total_bytes,
        ),
        Step(
            "Memory a program can allocate", "total memory as the driver reports it",
            plan.gpu.name, plan.gpu.memory_bytes,
        ),
        Step(
            "Headroom", "memory - total", f"{plan.gpu.memory_bytes:,} - {plan.total_bytes:,}",
            plan.headroom_bytes,
        ),
    )  # fmt: skip


def label(state: State, plan: TrainingPlan) -> str:
    """A state as people read it; FSDP2's only copy of the parameters is its fp32 shards."""
    if plan.recipe.sharding == "fsdp2" and state.name == "master weights":
        return "Parameters, fp32 shards"
    return f"{state.name[:1].upper()}{state.name[1:]}"


def _states(plan: TrainingPlan) -> Iterator[Step]:
    stage = plan.stage
    for state in stage.states.states:
        where = "" if state.place == "none" else f" (on {_PLACES[state.place]}, not in the total)"
        yield Step(
            f"{label(state, plan)}{where}",
            "parameters on this GPU x bytes / shards", state.formula, state.bytes,
            in_total=state.place == "none",
        )  # fmt: skip
    if stage.states.gathered_bytes:
        yield Step(
            "Largest module, gathered", "its parameters x bytes of parameters and gradients",
            "ZeRO-3 keeps one module whole", stage.states.gathered_bytes, in_total=True,
        )  # fmt: skip


_PLACES = {"cpu": "the host", "nvme": "NVMe", "none": "the GPU"}


def _activations(plan: TrainingPlan) -> Iterator[Step]:
    stage, recipe = plan.stage, plan.recipe
    for part in stage.parts:
        for saved in part.saved:
            dropped = recipe.recomputation == "full" or (
                saved.core and recipe.recomputation == "selective"
            )
            pairs = f" + sequence x {saved.bytes_per_pair:,}" if saved.bytes_per_pair else ""
            yield Step(
                f"{kind_name(part.group.kind)} layer: {saved.name}"
                + (" (recomputed)" if dropped else "")
                + (" (estimate)" if saved.estimated else ""),
                "tokens x bytes per token / split",
                f"{recipe.micro_batch_tokens:,} x ({saved.bytes_per_token:,}{pairs})",
                bytes_of(saved, recipe),
            )
        yield Step(
            f"{kind_name(part.group.kind)} layer, kept", "what is not recomputed",
            f"{counted(part.count, 'such layer')} on this stage", part.kept_bytes,
        )  # fmt: skip
    yield Step(
        "Activations kept", "layers x kept x micro-batches in flight, ids, head input",
        f"{stage.in_flight:g} micro-batch{'' if stage.in_flight == 1 else 'es'} of "
        f"{counted(recipe.micro_batch_tokens, 'token')} in flight",
        stage.kept_bytes, in_total=True,
    )  # fmt: skip
    yield Step(
        "Logits and loss", "tokens x vocabulary x bytes per logit", stage.loss.source,
        stage.loss.bytes,
    )  # fmt: skip
    yield Step(
        "Backward of one layer",
        "recomputed tensors and gradients of the widest part, and a tied head's gradient",
        "the larger of feed-forward and attention", stage.layer_peak_bytes,
    )  # fmt: skip
    yield Step(
        "Loss or one layer's backward", "the larger of the two",
        f"max({stage.loss.bytes:,}, {stage.layer_peak_bytes:,})", stage.transient_bytes,
        in_total=True,
    )  # fmt: skip


def verdict(plan: TrainingPlan) -> str:
    """Whether it fits, and by how much, in a sentence."""
    gpus = plan.recipe.gpus
    where = plan.gpu.name if gpus == 1 else f"{gpus:,} × {plan.gpu.name}"
    batch = (
        f"micro-batches of {plan.recipe.micro_batch_size:,} × "
        f"{counted(plan.recipe.sequence_length, 'token')}"
    )
    each = "" if gpus == 1 else " on the fullest GPU"
    if not plan.fits:
        short = format_bytes(-plan.headroom_bytes)
        return f"Does not fit on {where}: {batch} are {short} short{each}."
    spare = f"Fits on {where}: {batch}, {format_bytes(plan.headroom_bytes)} to spare{each}."
    over = plan.stage.range_bytes[1] - plan.gpu.memory_bytes
    if over <= 0:
        return spare
    return f"{spare} With every estimate at its high end it would be {format_bytes(over)} short."
