"""A plan as plain data, which is the JSON of every room, and its inputs back from a saved one."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from planner import attention
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.explain import derivation
from planner.findings import findings
from planner.fixes import fixes
from planner.footprint import Stage
from planner.kinds.compressed import CompressedAttention
from planner.memory import Parts
from planner.plan import SCHEMA_VERSION, Plan
from planner.verdict import verdict
from planner.workload import Workload

if TYPE_CHECKING:
    from planner.files.comparison import Comparison


def as_data(plan: Plan, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Everything a plan says, ready for JSON. config: the model's own, kept for reopening."""
    work = plan.workload
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict(plan),
        "model": {
            "source": plan.model.source,
            "model_type": plan.model.model_type,
            "num_hidden_layers": plan.model.num_hidden_layers,
            "layers": plan.model.layer_counts,
            "max_position_embeddings": plan.model.max_position_embeddings,
            "not_counted": list(plan.model.parameters_elsewhere),
            "config": None if config is None else finite(config),
        },
        "gpu": plan.gpu.model_dump(mode="json"),
        "deployment": {**plan.deployment.model_dump(mode="json"), "gpus": plan.deployment.gpus},
        "workload": work.model_dump(mode="json"),
        "parameters": {
            "total": plan.parameters.total,
            "active": plan.parameters.active,
            "embedding": plan.parameters.embedding,
            "mtp": plan.parameters.mtp,
            "towers": plan.parameters.towers,
        },
        "weights": {
            "dtype": plan.deployment.weights_dtype,
            "description": plan.footprint.assignment.description,
            "bytes": plan.weights_bytes,
            "bytes_per_gpu": plan.stage.weights_bytes,
            "components_per_gpu": plan.stage.weights,
            "files": files_data(plan.weight_files),
        },
        "kv_cache": {
            "dtype": plan.footprint.kv_format.name,
            "bytes_per_token": plan.kv_bytes_per_token,
            "bytes_per_token_past_windows": plan.kv_bytes_per_token_past_windows,
            "bytes_per_token_expanded": plan.kv_bytes_per_token_expanded,
            "bytes_per_sequence": plan.kv_bytes_per_sequence,
            "state_bytes_per_sequence": plan.state_bytes_per_sequence,
            "bytes": plan.kv_bytes,
            "bytes_per_gpu": plan.parts.kv_cache,
            "block_size": plan.deployment.block_size,
            "block_rounding_bytes_per_gpu": plan.parts.block_rounding,
            "shared_bytes_saved": plan.shared_bytes,
            "contiguous_bytes": plan.waste.contiguous_bytes,
        },
        "attention": {
            "score_matrix_bytes": plan.score_matrix_bytes,
            "flash_workspace_bytes": plan.flash_workspace_bytes,
            **traffic(plan),
        },
        "activations": estimate_data(plan.activations),
        "overheads": {
            **estimate_data(plan.overheads),
            "items": {name: estimate_data(e) for name, e in plan.stage.runtime.items()},
        },
        "stages": [
            {"gpus": plan.deployment.gpus // len(plan.stage_parts), **stage_data(stage, parts)}
            for stage, parts in zip(plan.footprint.stages, plan.stage_parts, strict=True)
        ],
        "ring": None if plan.ring is None else asdict(plan.ring),
        "binding_stage": plan.binding_stage,
        "total_bytes_per_gpu": plan.total_bytes_per_gpu,
        "total_range_bytes_per_gpu": list(plan.range_bytes),
        "fits": plan.fits,
        "headroom_bytes": plan.headroom_bytes,
        "max_context_tokens": plan.max_context_tokens,
        "max_concurrency": plan.max_concurrency,
        "fixes": [
            {
                "change": fix.sentence,
                "deployment": fix.deployment.model_dump(mode="json"),
                "workload": fix.workload.model_dump(mode="json"),
            }
            for fix in fixes(plan)
        ],
        "findings": [
            {"severity": f.severity, "code": f.code, "message": f.message} for f in findings(plan)
        ],
        "derivation": [
            {
                "label": step.label,
                "formula": step.formula,
                "substitution": step.substitution,
                "bytes": step.bytes,
                "in_total": step.in_total,
            }
            for step in derivation(plan)
        ],
    }


def traffic(plan: Plan) -> dict[str, int]:
    """FLOPs and device memory traffic of one layer that prefills one sequence.

    Empty for models without attention, and for those that attend to compressed entries, whose
    number of keys depends on what an indexer selects.
    """
    heads, n = plan.footprint.heads, plan.workload.context
    mixers = (m for group in plan.model.groups for m in group.mixers)
    if heads is None or any(isinstance(m, CompressedAttention) for m in mixers):
        return {}
    return {
        "prefill_flops_per_layer": attention.flops(heads, n, n),
        "naive_traffic_bytes_per_layer": attention.naive_traffic_bytes(heads, n, n),
        "flash_traffic_bytes_per_layer": attention.flash_traffic_bytes(heads, n, n),
    }


def files_data(found: "Comparison | None") -> dict[str, Any] | None:
    """What the weight files hold beside the plan; None where none were read."""
    if found is None:
        return None
    return {
        **found.files.model_dump(mode="json"),
        "planned_bytes": found.planned,
        "difference_bytes": found.difference,
        "differences": [asdict(line) for line in found.lines],
    }


def estimate_data(estimate: Estimate) -> dict[str, Any]:
    """An estimate with its range and source."""
    return {
        "bytes": estimate.bytes,
        "low_bytes": estimate.low_bytes,
        "high_bytes": estimate.high_bytes,
        "source": estimate.source,
    }


def stage_data(stage: Stage, parts: Parts) -> dict[str, Any]:
    """One pipeline stage: its layers and a GPU's bytes."""
    return {
        "first_layer": stage.layers.start,
        "last_layer": stage.layers.stop - 1,
        "weights_bytes": parts.weights,
        "kv_cache_bytes": parts.kv_cache,
        "block_rounding_bytes": parts.block_rounding,
        "block_tables_bytes": parts.block_tables,
        "attention_workspace_bytes": parts.attention_workspace,
        "activations_bytes": parts.activations,
        "runtime_bytes": parts.runtime,
        "total_bytes": parts.total,
    }


def finite(value: Any) -> Any:
    """The same JSON value with infinities and NaN as text, which JSON itself cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


def deployment_from(data: Mapping[str, Any]) -> Deployment:
    """The Deployment of a saved plan. Raises PlanRefused naming what is wrong."""
    known = {key: value for key, value in _part(data, "deployment").items() if key != "gpus"}
    return Deployment(**_checked(known, Deployment))


def workload_from(data: Mapping[str, Any]) -> Workload:
    """The Workload of a saved plan. Raises PlanRefused naming what is wrong."""
    return Workload(**_checked(_part(data, "workload"), Workload))


def _part(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    if "schema_version" not in data:
        raise PlanRefused("schema_version is missing, so this is no saved plan")
    if data["schema_version"] != SCHEMA_VERSION:
        raise PlanRefused(
            f"schema_version: this file has {data['schema_version']!r}, and only "
            f"{SCHEMA_VERSION} can be opened"
        )
    part = data.get(name)
    if not isinstance(part, Mapping):
        raise PlanRefused(f"{name} is missing, so this is no saved plan")
    return dict(part)


def _checked(part: dict[str, Any], kind: type[Deployment] | type[Workload]) -> dict[str, Any]:
    try:
        kind(**part)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None
    return part


BOUNDS = {"ge": "at least", "le": "at most", "gt": "above", "lt": "below"}


def first_error(error: ValidationError) -> str:
    """The first complaint of a validation as one sentence with the field's name."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    limits, given = first.get("ctx", {}), first["input"]
    kind = str(first["type"])
    if kind == "extra_forbidden":
        return f"{name} is not a field here"
    if kind == "missing":
        return f"{name} is missing"
    for key, word in BOUNDS.items():
        if key in limits:
            return f"{name} must be {word} {_amount(limits[key])}, not {_amount(given)}"
    if kind == "literal_error":
        return f"{name} must be {limits['expected']}, not {given!r}"
    if kind.startswith("int_"):
        return f"{name} must be a whole number, not {given!r}"
    message = str(first["msg"]).removeprefix("Value error, ")
    return f"{name}: {message[:1].lower()}{message[1:]}, not {given!r}"


def _amount(value: object) -> str:
    """A number as people write it; what is none, as it was given."""
    if isinstance(value, float):
        return f"{value:,.12g}"
    return f"{value:,}" if isinstance(value, int) else repr(value)
