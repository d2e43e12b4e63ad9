"""The arithmetic behind a plan, line by line: label, formula, the same with its numbers, bytes.

Lines marked in_total add up to the binding GPU's total; the others are steps on the way or
figures for comparison.
"""

from collections.abc import Iterator
from math import prod

from planner.explain.cache import cache_steps
from planner.explain.step import Step
from planner.explain.working_memory import working_memory_steps
from planner.footprint import held_weights
from planner.plan import Plan
from planner.units import counted

COMPONENT_LABELS = {
    "attention": "Attention weights",
    "mlp": "Feed-forward weights",
    "experts": "Routed expert weights",
    "embedding": "Embedding weights",
    "head": "Output head weights",
    "norms": "Norm weights",
    "other": "Other weights",
    "towers": "Tower weights",
}


def derivation(plan: Plan) -> tuple[Step, ...]:
    """Every step from the inputs to the total of the binding GPU, and what it is held against."""
    return (
        *_weights(plan),
        *cache_steps(plan),
        *working_memory_steps(plan),
        *_runtime(plan),
        Step(
            "Total per GPU",
            "sum of the lines above",
            f"stage {plan.binding_stage + 1} of {len(plan.footprint.stages)} binds",
            plan.total_bytes_per_gpu,
        ),
        Step(
            "Memory a program can allocate",
            "total memory as the driver reports it",
            plan.gpu.name,
            plan.gpu.memory_bytes,
        ),
        Step(
            "Headroom",
            "memory - total",
            f"{plan.gpu.memory_bytes:,} - {plan.total_bytes_per_gpu:,}",
            plan.headroom_bytes,
        ),
    )


def _weights(plan: Plan) -> Iterator[Step]:
    assignment, deployment = plan.footprint.assignment, plan.deployment
    apart = f", its {plan.model.tower_name} apart" if plan.model.towers else ""
    yield Step(
        f"Weights of the whole model{apart}",
        "stored bytes of every tensor, scales included",
        f"{plan.parameters.total:,} parameters; {assignment.description}",
        plan.weights_bytes,
    )
    yield from _files(plan)
    stage, stages = plan.stage, plan.footprint.stages
    elements: dict[str, dict[str, int]] = {}
    for name, piece, fmt in held_weights(
        plan.model, deployment, assignment, stage.layers, stage is stages[0], stage is stages[-1]
    ):
        by_format = elements.setdefault(name, {})
        by_format[fmt.name] = by_format.get(fmt.name, 0) + piece.copies * prod(piece.shape)
    for name, size in stage.weights.items():
        parts = (f"{count:,} in {fmt}" for fmt, count in elements[name].items())
        yield Step(
            COMPONENT_LABELS.get(name, name),
            "parameters on this GPU as stored, scales included",
            ", ".join(parts),
            size,
            in_total=True,
        )


def _files(plan: Plan) -> Iterator[Step]:
    """What the weight files hold beside that, and where the two differ."""
    found = plan.weight_files
    if found is None:
        return
    sizes: dict[str, int] = {}
    for part in found.files.parts.values():
        for dtype, size in part.items():
            sizes[dtype] = sizes.get(dtype, 0) + size
    stored = [f"{size:,} in {dtype}" for dtype, size in sizes.items()]
    yield Step(
        f"Tensors in {found.files.name}",
        "bytes of every tensor, as " + ("their headers state" if stored else "the index states"),
        f"{counted(found.files.tensors, 'tensor')}: {', '.join(stored) or 'of all together'}",
        found.files.bytes,
    )
    for line in found.lines:
        yield Step(
            f"In the files beyond the plan: {line.label}", line.why, f"{line.bytes:+,}", line.bytes
        )
    yield Step(
        "Files less the plan" + (", its towers included" if plan.model.towers else ""),
        "tensors in the files - weights of the whole model",
        f"{found.files.bytes:,} - {found.planned:,}",
        found.difference,
    )


def _runtime(plan: Plan) -> Iterator[Step]:
    label = None if plan.gpu.calibration is None else plan.gpu.calibration.label
    for name, estimate in plan.stage.runtime.items():
        measured = estimate.source == label
        yield Step(
            runtime_label(name) + (" (measured)" if measured else " (estimate)"),
            "measured on such a card" if measured else "measured elsewhere",
            f"{estimate.low_bytes:,} to {estimate.high_bytes:,}; {estimate.source}",
            estimate.bytes,
            in_total=True,
        )


def runtime_label(name: str) -> str:
    """An overhead's name as people read it."""
    if name == "context":
        return "CUDA context"
    return name.replace("_", " ").capitalize().replace("Cuda", "CUDA")
