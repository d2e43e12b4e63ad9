"""Kubernetes: a Deployment and its Service, and the pod that other kinds share.

/dev/shm has no size limit. What engines keep there grows with their ranks and not with the model:
vLLM's documentation gives 2 GiB to a pod of one card and LeaderWorkerSet's example 15 to one of 8
(docs/deployment/k8s.md; docs/examples/leaderworkerset/basic/vllm.yaml). A pod that outgrows a limit
is evicted, while memory that nobody writes is not taken: the pod's own limit, if any, bounds it.
"""

from typing import Any

from planner.engines.deploy.cards import resource
from planner.engines.deploy.service import (
    CONFIG_PATH,
    MODELS,
    SECRET,
    SECRET_KEY,
    Service,
    target,
)
from planner.engines.deploy.startup import longest_start_s
from planner.engines.engine import CONFIG_NAME
from planner.engines.yaml_text import yaml_text
from planner.errors import PlanRefused

PROBED_EVERY_S = 10


def kubernetes(service: Service) -> str:
    """Deployment and Service. Raises PlanRefused for more than one node."""
    if service.nodes > 1:
        raise PlanRefused("A Deployment's pod runs on one node: use LeaderWorkerSet")
    return yaml_text(*config_map(service), *kubernetes_data(service))


def config_map(service: Service) -> tuple[dict[str, Any], ...]:
    """The configuration file as a document, where there is one."""
    if not service.config:
        return ()
    return (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{service.name}-config"},
            "data": {CONFIG_NAME: service.config},
        },
    )


def kubernetes_data(service: Service) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two documents as data."""
    labels = {"app.kubernetes.io/name": service.name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service.name, "labels": labels},
        "spec": {
            "replicas": service.replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": labels}, "spec": pod(service)},
        },
    }
    return deployment, front(service, labels)


def front(service: Service, selector: dict[str, str]) -> dict[str, Any]:
    """The Service in front of the pods that serve."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": service.name},
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": service.port, "targetPort": "http"}],
        },
    }


def pod(service: Service, args: tuple[str, ...] | None = None, *, serves: bool = True) -> Any:
    """The pod: container, GPUs, shared memory, token and probes where it serves."""
    words = service.args if args is None else args
    container: dict[str, Any] = {
        "name": "main",
        "image": service.image,
        "command": [words[0]],
        "args": list(words[1:]),
        "env": [
            {
                "name": "HF_TOKEN",
                "valueFrom": {
                    "secretKeyRef": {"name": SECRET, "key": SECRET_KEY, "optional": True}
                },
            }
        ],
        "resources": {
            "requests": {resource(service.gpu): str(service.gpus)},
            "limits": {resource(service.gpu): str(service.gpus)},
        },
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "hf-cache", "mountPath": "/root/.cache/huggingface"},
        ],
    }
    if serves:
        get = {"path": "/health", "port": "http"}
        container["ports"] = [{"name": "http", "containerPort": service.port}]
        container["startupProbe"] = {
            "httpGet": get, "periodSeconds": PROBED_EVERY_S,
            "failureThreshold": longest_start_s(service.weights_bytes) // PROBED_EVERY_S,
        }  # fmt: skip
        container["readinessProbe"] = {"httpGet": get, "periodSeconds": 5}
        container["livenessProbe"] = {"httpGet": get, "periodSeconds": 15, "failureThreshold": 4}
    volumes: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
        {"name": "hf-cache", "emptyDir": {}},
    ]
    if service.config:
        folder = CONFIG_PATH.removesuffix(f"/{CONFIG_NAME}")
        container["volumeMounts"].append({"name": "config", "mountPath": folder})
        volumes.append({"name": "config", "configMap": {"name": f"{service.name}-config"}})
    if service.files:
        claim = {"claimName": "models", "readOnly": True}
        container["volumeMounts"].append({"name": "models", "mountPath": MODELS})
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
    for number, folder in enumerate(service.folders):
        name = f"model-{number}"
        container["volumeMounts"].append(
            {"name": name, "mountPath": target(folder), "readOnly": True}
        )
        kind = "File" if folder.endswith(".gguf") else "Directory"
        volumes.append({"name": name, "hostPath": {"path": folder, "type": kind}})
    return {"containers": [container], "volumes": volumes}
