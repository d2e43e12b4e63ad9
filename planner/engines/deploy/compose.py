"""Docker Compose: one service with its GPUs, cache of downloads and health check."""

from typing import Any

from planner.engines.deploy.cards import compose_access
from planner.engines.deploy.service import CONFIG_PATH, MODELS, Service, target
from planner.engines.deploy.startup import longest_start_s
from planner.engines.yaml_text import yaml_text
from planner.errors import PlanRefused
from planner.units import MINUTE_S

CONFIG = "engine"
"""Name of the engine's file among the configs."""


def compose(service: Service) -> str:
    """compose.yaml. Raises PlanRefused for more than one node."""
    if service.nodes > 1:
        raise PlanRefused("Docker Compose runs on one node: use LeaderWorkerSet or Ray")
    remark = "# Docker Compose 2.23.1 or newer: content of configs.\n" if service.config else ""
    return remark + yaml_text(compose_data(service))


def compose_data(service: Service) -> dict[str, Any]:
    """The file as data (Compose specification)."""
    mounts: list[Any] = ["hf-cache:/root/.cache/huggingface"]
    if service.files:
        mounts.append(f".{MODELS}:{MODELS}:ro")
    mounts += [
        {"type": "bind", "source": _text(f), "target": _text(target(f)), "read_only": True}
        for f in service.folders
    ]
    reads = [{"source": CONFIG, "target": CONFIG_PATH}] if service.config else []
    health = f"curl -fs http://localhost:{service.port}/health || exit 1"
    return {
        "name": service.name,
        "services": {
            service.name: {
                "image": service.image,
                "entrypoint": [service.args[0]],
                "command": [_text(word) for word in service.args[1:]],
                "ports": [f"{service.port}:{service.port}"],
                "environment": {"HF_TOKEN": "${HF_TOKEN:-}"},
                "volumes": mounts,
                **({"configs": reads} if reads else {}),
                "ipc": "host",
                "restart": "unless-stopped",
                **compose_access(service.gpu, service.gpus),
                "healthcheck": {
                    "test": ["CMD-SHELL", health],
                    "interval": "30s",
                    "timeout": "10s",
                    "retries": 3,
                    "start_period": f"{longest_start_s(service.weights_bytes) // MINUTE_S}m",
                },
            }
        },
        "volumes": {"hf-cache": {}},
        **({"configs": {CONFIG: {"content": service.config}}} if reads else {}),
    }


def _text(word: str) -> str:
    """As Compose reads it, which takes $NAME for a variable."""
    return word.replace("$", "$$")
