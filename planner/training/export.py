"""A training plan as plain data and as rows, which every format and the page print."""

from dataclasses import asdict
from typing import Any

from planner.estimate import Estimate
from planner.offer import Offer
from planner.parameters import count as parameter_count
from planner.positions import beyond_stated
from planner.training.capacity import MOST_GPUS, Limits, split
from planner.training.explain import LABELS, derivation, label, verdict
from planner.training.notes import notes
from planner.training.plan import SCHEMA_VERSION, TrainingPlan
from planner.training.published import published
from planner.training.recipe import SHARDING_NAMES
from planner.training.speed import StepTime
from planner.units import counted, format_bytes, format_seconds, format_share

PLACES = {"none": "GPU", "cpu": "host", "nvme": "NVMe"}


def memory_rows(plan: TrainingPlan) -> list[tuple[str, str, int, bool]]:
    """(key, label, bytes, estimated) of all that lies on the binding GPU, in order."""
    stage = plan.stage
    rows = [
        (s.name.replace(" ", "_"), label(s, plan), s.bytes, False)
        for s in stage.states.states
        if s.place == "none"
    ]
    if stage.states.gathered_bytes:
        rows.append(("gathered", "Largest module, gathered", stage.states.gathered_bytes, False))
    estimated = any(s.estimated for part in stage.parts for s in part.saved)
    rows.append(("kept", "Activations kept", stage.kept_bytes, estimated))
    eager = stage.loss.bytes >= stage.layer_peak_bytes
    transient = "Logits and loss" if eager else "One layer's backward"
    rows.append(("transient", transient, stage.transient_bytes, eager))
    return rows + [
        (name, LABELS.get(name, name), e.bytes, True) for name, e in stage.estimates.items()
    ]


def past_positions(plan: TrainingPlan, found: Limits) -> str:
    """What to add to the longest sequence that fits; nothing where the model reaches that far."""
    beyond = beyond_stated(plan.model, found.sequence_length, served=False)
    return ", beyond the stated positions" if beyond else ""


def limit_rows(plan: TrainingPlan, found: Limits) -> list[tuple[str, str]]:
    """The questions backwards, answered."""
    recipe, fewest = plan.recipe, found.fewest
    count = f"none of up to {MOST_GPUS:,}"
    if fewest is not None:
        count = "1" if fewest.gpus == 1 else f"{fewest.gpus:,} ({split(fewest)})"
    longest = "none fits"
    if found.sequence_length:
        longest = counted(found.sequence_length, "token")
        longest += past_positions(plan, found)
    rows = [
        (
            f"Largest micro-batch at {counted(recipe.sequence_length, 'token')}",
            f"{found.micro_batch_size:,}" if found.micro_batch_size else "none fits",
        ),
        (
            f"Longest sequence at micro-batch {recipe.micro_batch_size:,}",
            longest,
        ),
    ]
    if recipe.shards > 1:
        lowest = SHARDING_NAMES[found.sharding] if found.sharding else "none"
        rows.append(("Lowest sharding that fits on these GPUs", lowest))
    return [*rows, (f"Fewest GPUs with {SHARDING_NAMES[recipe.sharding]}", count)]


def time_rows(time: StepTime, price: Offer | None) -> list[tuple[str, str]]:
    """Time, utilisation and cost, each with its range; without parts that take none."""
    rows = [
        (
            "Time of a step",
            f"{format_seconds(time.total_s)} ({format_seconds(time.low_s)} to "
            f"{format_seconds(time.high_s)})",
        ),
        ("Tokens of a step", f"{time.tokens:,}"),
        (
            "Tokens per second",
            f"{time.tokens_per_s:,.0f} ({time.tokens / time.high_s:,.0f} to "
            f"{time.tokens / time.low_s:,.0f})",
        ),
        (
            "MFU",
            format_share(time.mfu)
            + ("" if time.hfu == time.mfu else f"; HFU {format_share(time.hfu)}"),
        ),
    ]
    parts = {
        "Compute": time.compute_s,
        "Tensor and expert parallel links": time.tensor_s,
        "Context ring, what attention does not hide": time.ring_s,
        "Sends between pipeline stages": time.stage_s,
        "Data parallel links, half of it hidden": time.data_s,
        "Pipeline bubble": time.bubble_s,
        "Optimizer": time.optimizer_s,
    }
    sent = {"Data parallel links, half of it hidden": time.data_bytes}
    rows += [
        (
            name,
            format_seconds(seconds)
            + (f" for {format_bytes(sent[name])} that a GPU sends" if name in sent else ""),
        )
        for name, seconds in parts.items()
        if seconds
    ]
    rows += [
        (
            t.name,
            f"{format_seconds(t.seconds)} ({format_seconds(t.low_s)} to "
            f"{format_seconds(t.high_s)}) for {format_bytes(t.bytes)}; {t.source}",
        )
        for t in time.transfers
    ]
    if price is not None:
        usd = time.usd_per_billion_tokens(price)
        low, high = usd * time.low_s / time.total_s, usd * time.high_s / time.total_s
        rows.append(("Cost of a billion tokens", f"${usd:,.0f} (${low:,.0f} to ${high:,.0f})"))
        rows.append(("Price", price.words(time.gpus)))
    return rows


def published_rows(plan: TrainingPlan) -> list[tuple[str, str, str]]:
    """What the frameworks' own estimators say: tool, what, figure beside ours."""
    rows = []
    for p in published(plan.model, plan.recipe, parameter_count(plan.model).total):
        ours = format_bytes(plan.stage.states.gpu_bytes)
        rows.append((f"{p.tool}: states", format_bytes(p.states_bytes), ours))
        if p.activation_bytes is not None:
            mine = format_bytes(plan.stage.kept_bytes)
            rows.append((f"{p.tool}: activations", format_bytes(p.activation_bytes), mine))
        if p.host_bytes is not None:
            mine = format_bytes(plan.host.bytes)
            rows.append((f"{p.tool}: host", format_bytes(p.host_bytes), mine))
    return rows


def as_data(
    plan: TrainingPlan,
    found: Limits,
    time: StepTime | None,
    price: Offer | None = None,
    untimed: str = "",
) -> dict[str, Any]:
    """Everything a training plan says, ready for JSON. untimed: why there is no time."""
    stage = plan.stage
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "training",
        "verdict": verdict(plan),
        "fits": plan.fits,
        "model": {"source": plan.model.source, "parameters": parameter_count(plan.model).total},
        "gpu": {"id": plan.gpu.id, "name": plan.gpu.name, "memory_bytes": plan.gpu.memory_bytes},
        "recipe": {**plan.recipe.model_dump(mode="json"), "gpus": plan.recipe.gpus},
        "parameters_on_gpu": stage.states.parameters,
        "trainable_on_gpu": stage.states.trainable,
        "total_bytes_per_gpu": plan.total_bytes,
        "range_bytes": list(stage.range_bytes),
        "headroom_bytes": plan.headroom_bytes,
        "binding_stage": stage.index,
        "states": [
            {"name": s.name, "bytes": s.bytes, "place": PLACES[s.place], "formula": s.formula}
            for s in stage.states.states
        ],
        "gathered_bytes": stage.states.gathered_bytes,
        "activations": {
            "kept_bytes": stage.kept_bytes,
            "loss_bytes": stage.loss.bytes,
            "layer_backward_bytes": stage.layer_peak_bytes,
            "micro_batches_in_flight": stage.in_flight,
        },
        "estimates": {name: asdict(e) for name, e in stage.estimates.items()},
        "host": asdict(plan.host),
        "nvme_bytes": plan.nvme_bytes,
        "limits": {
            "micro_batch_size": found.micro_batch_size,
            "sequence_length": found.sequence_length,
            "sharding": found.sharding,
            "fewest_gpus": None if found.fewest is None else found.fewest.gpus,
        },
        "time": None if time is None else _time(time, price),
        "untimed": untimed or None,
        "published": [
            asdict(p) for p in published(plan.model, plan.recipe, parameter_count(plan.model).total)
        ],
        "notes": list(notes(plan)),
        "derivation": [asdict(step) for step in derivation(plan)],
    }


def _time(time: StepTime, price: Offer | None) -> dict[str, Any]:
    found = {
        **asdict(time), "total_s": time.total_s, "tokens_per_s": time.tokens_per_s,
        "mfu": time.mfu, "hfu": time.hfu,
    }  # fmt: skip
    if price is not None:
        found["usd_per_billion_tokens"] = time.usd_per_billion_tokens(price)
        found["price"] = price.words(time.gpus)
    return found


def ranged(estimate: Estimate) -> str:
    """'12.00 GiB (8.00 GiB to 12.00 GiB)'."""
    text = format_bytes(estimate.bytes)
    if not estimate.is_range:
        return text
    return f"{text} ({format_bytes(estimate.low_bytes)} to {format_bytes(estimate.high_bytes)})"
