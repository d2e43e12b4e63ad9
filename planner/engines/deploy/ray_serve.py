"""Ray Serve LLM: an application with one LLMConfig, for `serve run` or `serve deploy`.

Data-parallel attention has a builder of its own: one replica a rank, which Ray counts itself.
"""

import json
from typing import Any

from planner.engines.deploy.service import Service
from planner.engines.yaml_text import yaml_text
from planner.errors import PlanRefused

ACCELERATORS = {
    "v100": "V100", "t4": "T4", "l4": "L4", "l40s": "L40S", "a10": "A10G", "a10g": "A10G",
    "a100": "A100", "h100": "H100", "h200": "H200", "h20": "H20", "b200": "B200", "b300": "B300",
    "gb200": "GB200", "gb300": "GB300", "rtx-pro-6000": "RTX-PRO-6000",
    "mi210": "AMD-Instinct-MI210", "mi250x": "AMD-Instinct-MI250X", "mi300a": "AMD-Instinct-MI300A",
    "mi300x": "AMD-Instinct-MI300X-OAM", "mi325x": "AMD-Instinct-MI325X-OAM",
    "mi350x": "AMD-Instinct-MI350X-OAM", "mi355x": "AMD-Instinct-MI355X-OAM",
}  # fmt: skip
"""Start of a GPU's id -> the accelerator_type that Ray knows (ray.util.accelerators, 2.60)."""


def ray_serve(service: Service, gpu_id: str) -> str:
    """serve_config.yaml. Raises PlanRefused for engines other than vLLM."""
    return (
        f"# Planned for vLLM {service.version}. Ray's images bring a vLLM of their own: install "
        f"this one\n# in them, or plan theirs.\n{yaml_text(ray_serve_data(service, gpu_id))}"
    )


def ray_serve_data(service: Service, gpu_id: str) -> dict[str, Any]:
    """The application as data; flags of the command become engine_kwargs."""
    if service.engine != "vllm":
        raise PlanRefused("Ray Serve LLM runs vLLM: choose that engine")
    if service.files:
        raise PlanRefused("Ray Serve mounts nothing: give models by whole paths of the nodes")
    config: dict[str, Any] = {
        "model_loading_config": {"model_id": service.name, "model_source": service.model},
    }
    accelerator = next(
        (name for start, name in ACCELERATORS.items() if f"{gpu_id}-".startswith(f"{start}-")), None
    )
    if accelerator is not None:
        config["accelerator_type"] = accelerator
    config["deployment_config"] = {"num_replicas": service.replicas}
    config["engine_kwargs"] = engine_kwargs(service.args[3:])
    spread = config["engine_kwargs"].get("data_parallel_size", 1) > 1
    builder = "build_dp_openai_app" if spread else "build_openai_app"
    return {
        "applications": [
            {
                "name": service.name,
                "route_prefix": "/",
                "import_path": f"ray.serve.llm:{builder}",
                "args": {"llm_config": config} if spread else {"llm_configs": [config]},
            }
        ]
    }


def engine_kwargs(words: tuple[str, ...]) -> dict[str, Any]:
    """vLLM's flags as keyword arguments; where it listens is Ray's business."""
    found: dict[str, Any] = {}
    i = 0
    while i < len(words):
        name = words[i].removeprefix("--").replace("-", "_")
        has_value = i + 1 < len(words) and not words[i + 1].startswith("--")
        if not has_value:
            off = name.startswith("no_")
            found[name.removeprefix("no_")] = not off
        else:
            try:
                found[name] = json.loads(words[i + 1])
            except ValueError:
                found[name] = words[i + 1]
        i += 2 if has_value else 1
    return {name: value for name, value in found.items() if name not in ("host", "port")}
