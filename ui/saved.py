"""Between a plan's inputs and the values of the page's widgets, in both directions."""

import json
from collections.abc import Mapping
from typing import Any

from planner.deployment import Deployment
from planner.errors import ConfigRefused, PlanRefused
from planner.export import deployment_from, workload_from
from planner.formats.dtypes import ALIASES as KV_ALIASES
from planner.formats.weight_formats import ALIASES as WEIGHT_ALIASES
from planner.hardware import Gpu, custom_gpu, gpu_with_memory
from planner.hf_config.document import read_document
from planner.units import MIB, parse_tokens
from planner.workload import Workload
from presets.gpus import load_gpu
from ui.model_source import PASTED, NothingYet, preset_of
from ui.opened_record import record_for
from ui.options import CUSTOM_GPU, gpu_options, kv_options, weight_options
from validate.calibration import calibrated_gpu

DEFAULTS: dict[str, Any] = {
    "from": "Preset",
    "model": "llama-3.1-8b",
    "hub": "",
    "gpu": "h100-sxm5-80gb",
    "gpus": 1,
    "memory": None,
    "weights": "auto",
    "kv": "auto",
    "context": 32768,
    "users": 12,
    "pp": 1,
    "dp": 1,
    "dcp": 1,
    "cp": 1,
    "ep": False,
    "batched": 8192,
    "block": 16,
    "prefix": 0,
    "beams": 1,
    "prompt": 0,
    "eager": False,
    "calibrated": False,
}
"""Every bound widget by its name in the link, with what a link without it means."""


TOKENS = {
    "context": "Context",
    "batched": "Batched tokens",
    "prefix": "Shared prefix",
    "prompt": "Prompt shared by the beams",
}
"""Those that are typed as text, so that 32k means what it means to the command line, by label."""


def _tokens(values: Mapping[str, Any], key: str) -> int:
    try:
        return parse_tokens(str(values[key]))
    except ValueError as error:
        raise PlanRefused(f"{TOKENS[key]}: {error}") from None


def deployment_of(values: Mapping[str, Any]) -> Deployment:
    """The Deployment that the widgets describe: tensor parallel is what the other sizes leave."""
    pp, dp, cp = values["pp"], values["dp"], values["cp"]
    gpus, rest = values["gpus"], pp * dp * cp
    if gpus % rest:
        raise PlanRefused(
            f"{gpus} GPUs cannot be split into {pp} pipeline stages × {dp} data parallel × {cp} "
            f"ring: use a multiple of {rest}"
        )
    return Deployment(
        tensor_parallel_size=gpus // rest,
        pipeline_parallel_size=pp,
        data_parallel_size=dp,
        decode_context_parallel_size=values["dcp"],
        context_parallel_size=cp,
        enable_expert_parallel=values["ep"],
        weights_dtype=values["weights"],
        kv_cache_dtype=values["kv"],
        block_size=values["block"],
        max_num_batched_tokens=_tokens(values, "batched"),
        enforce_eager=values["eager"],
    )


def workload_of(values: Mapping[str, Any]) -> Workload:
    """The Workload that the widgets describe; prompt 0 means that beams share no prompt."""
    return Workload(
        context=_tokens(values, "context"),
        concurrency=values["users"],
        shared_prefix_tokens=_tokens(values, "prefix"),
        beam_width=values["beams"],
        prompt_tokens=_tokens(values, "prompt") or None,
    )


def gpu_of(values: Mapping[str, Any]) -> Gpu:
    """The GPU that the widgets describe, with the memory the person read on it, if any."""
    memory_bytes = None if values["memory"] is None else values["memory"] * MIB
    if values["gpu"] == CUSTOM_GPU:
        if memory_bytes is None:
            raise NothingYet("Give the memory of your GPU in MiB, as its driver prints it.")
        return custom_gpu(memory_bytes)
    gpu = load_gpu(values["gpu"])
    record = record_for(gpu.id) if values.get("calibrated") else None
    if record is not None:
        gpu = calibrated_gpu(gpu, record)
    return gpu if memory_bytes is None else gpu_with_memory(gpu, memory_bytes)


def values_of(deployment: Deployment, workload: Workload) -> dict[str, Any]:
    """The widgets' values that give these inputs; the other direction of the two above."""
    weights, kv = deployment.weights_dtype.lower(), deployment.kv_cache_dtype.lower()
    return {
        "gpus": deployment.gpus,
        "pp": deployment.pipeline_parallel_size,
        "dp": deployment.data_parallel_size,
        "dcp": deployment.decode_context_parallel_size,
        "cp": deployment.context_parallel_size,
        "ep": deployment.enable_expert_parallel,
        "weights": _option(WEIGHT_ALIASES.get(weights, weights), weight_options(), "weights_dtype"),
        "kv": _option(KV_ALIASES.get(kv, kv), kv_options(), "kv_cache_dtype"),
        "batched": deployment.max_num_batched_tokens,
        "block": deployment.block_size,
        "eager": deployment.enforce_eager,
        "context": workload.context,
        "users": workload.concurrency,
        "prefix": workload.shared_prefix_tokens,
        "beams": workload.beam_width,
        "prompt": workload.prompt_tokens or 0,
    }


def _option(value: str, options: tuple[str, ...], field: str) -> str:
    if value not in options:
        raise PlanRefused(f"{field}: {value!r} is not a format this version knows")
    return value


def values_of_saved(text: str | bytes) -> dict[str, Any]:
    """The widgets' values of a saved plan. Raises SizewellError saying what is wrong with it.

    A model that is no preset comes back as "config", the text of its configuration.
    """
    data = read_document(text)
    if "model_type" in data and "schema_version" not in data:
        raise ConfigRefused("this is a model's config.json: give it under 'Model from' instead")
    if "cases" in data:
        raise ConfigRefused("this is a record of a validation: open it on the Validate page")
    if data.get("kind") == "training":
        raise ConfigRefused("this is a report of training, which the Train page's link opens again")
    found = values_of(deployment_from(data), workload_from(data))
    return {**found, **_model_values(data), **gpu_values(data.get("gpu"))}


def _model_values(data: Mapping[str, Any]) -> dict[str, Any]:
    model = data.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("source"), str):
        raise PlanRefused("model is missing, so this is no saved plan")
    config = model.get("config")
    preset = preset_of(model["source"], config if isinstance(config, dict) else None)
    if preset is not None:
        return {"from": "Preset", "model": preset}
    if not isinstance(config, Mapping):
        raise PlanRefused(
            f"model.config: the plan of {model['source']!r} was saved without its configuration"
        )
    source = model["source"]
    name = "" if source == PASTED or source.endswith(".json") else source
    return {"from": "config.json", "config": json.dumps(config, indent=1), "model_name": name}


def gpu_values(gpu: Any) -> dict[str, Any]:
    """The widgets' values of a saved plan's GPU."""
    if not isinstance(gpu, Mapping) or not isinstance(gpu.get("memory_bytes"), int):
        raise PlanRefused("gpu.memory_bytes is missing, so this is no saved plan")
    memory, gpu_id = gpu["memory_bytes"] // MIB, gpu.get("id")
    if memory < 1:
        raise PlanRefused("gpu.memory_bytes is less than 1 MiB")
    if gpu_id not in gpu_options() or gpu_id == CUSTOM_GPU:
        return {"gpu": CUSTOM_GPU, "memory": memory}
    listed = load_gpu(str(gpu_id))
    record = record_for(listed.id)
    calibrated = _date(gpu) is not None and record is not None and record.date == _date(gpu)
    if calibrated and record is not None:
        listed = calibrated_gpu(listed, record)
    same = memory == listed.memory_bytes // MIB
    return {"gpu": gpu_id, "memory": None if same else memory, "calibrated": calibrated}


def _date(gpu: Mapping[str, Any]) -> str | None:
    """The day that the GPU of a saved plan was calibrated."""
    calibration = gpu.get("calibration")
    return str(calibration.get("date")) if isinstance(calibration, Mapping) else None


def lost(text: str | bytes, values: Mapping[str, Any]) -> str | None:
    """What a saved plan had that its values lack, and what to do about it."""
    data = read_document(text)
    gpu, engine = data.get("gpu"), data.get("engine")
    date = _date(gpu) if isinstance(gpu, Mapping) else None
    parts = []
    if date is not None and not values.get("calibrated"):
        parts.append(
            f"its calibration of {date} was left out, because no record of that day is here: open "
            "the record on the Validate page, then the plan again"
        )
    if isinstance(gpu, Mapping) and values.get("memory") and gpu["memory_bytes"] % MIB:
        parts.append(f"its GPU memory was cut to whole MiB, {values['memory']:,} of them")
    if isinstance(engine, Mapping):
        from planner.engines.registry import called

        name = called(str(engine.get("name")), str(engine.get("version")))[:60]
        parts.append(f"its engine, {name}, was left out: choose it on the Engine page")
    return "; ".join(parts) or None
