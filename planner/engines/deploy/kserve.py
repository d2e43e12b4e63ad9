"""KServe: an InferenceService with a custom predictor, and llm-d's LLMInferenceService."""

from typing import Any

from planner.deployment import Deployment
from planner.engines.deploy.kubernetes import config_map, pod
from planner.engines.deploy.service import Service
from planner.engines.yaml_text import yaml_text
from planner.errors import PlanRefused


def inference_service(service: Service) -> str:
    """serving.kserve.io/v1beta1. Raises PlanRefused for more than one node."""
    if service.nodes > 1:
        raise PlanRefused("An InferenceService's predictor runs on one node: use LeaderWorkerSet")
    return yaml_text(*config_map(service), inference_service_data(service))


def inference_service_data(service: Service) -> dict[str, Any]:
    """Standard deployment mode: the predictor is the pod itself."""
    predictor = pod(service)
    predictor["containers"][0]["name"] = "kserve-container"
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": service.name,
            "annotations": {"serving.kserve.io/deploymentMode": "Standard"},
        },
        "spec": {
            "predictor": {
                "minReplicas": service.replicas, "maxReplicas": service.replicas, **predictor,
            }
        },
    }  # fmt: skip


def llm_inference_service(service: Service, deployment: Deployment) -> str:
    """serving.kserve.io/v1alpha1, which llm-d's router schedules. vLLM only."""
    return yaml_text(llm_inference_service_data(service, deployment))


def llm_inference_service_data(service: Service, deployment: Deployment) -> dict[str, Any]:
    """The model, its parallelism and a pod; flags that are neither go to the container."""
    if service.engine != "vllm":
        raise PlanRefused("LLMInferenceService runs vLLM: choose it or use InferenceService")
    if service.folders or service.files:
        raise PlanRefused("LLMInferenceService reads a repository: give the model's Hub id")
    if service.nodes > 1 and deployment.data_parallel_size == 1:
        raise PlanRefused(
            "LLMInferenceService spreads data-parallel ranks over nodes: without them use "
            "LeaderWorkerSet"
        )
    if deployment.pipeline_parallel_size > 1 and deployment.data_parallel_size > 1:
        raise PlanRefused(
            "LLMInferenceService takes pipeline or data parallelism, not both: use a Deployment"
        )
    parallelism: dict[str, Any] = {"tensor": deployment.tensor_parallel_size}
    if deployment.pipeline_parallel_size > 1:
        parallelism["pipeline"] = deployment.pipeline_parallel_size
    if deployment.data_parallel_size > 1:
        parallelism["data"] = deployment.data_parallel_size
        parallelism["dataLocal"] = deployment.data_parallel_size // service.nodes
    if deployment.enable_expert_parallel:
        parallelism["expert"] = True
    words = (
        "vllm",
        "serve",
        "/mnt/models",
        "--served-model-name",
        service.model,
        *service.args[3:],
    )
    spec: dict[str, Any] = {
        "model": {"uri": f"hf://{service.model}", "name": service.model},
        "replicas": service.replicas,
        "parallelism": parallelism,
        "router": {"gateway": {}, "route": {}, "scheduler": {}},
        "template": pod(service, words),
    }
    if service.nodes > 1:
        spec["worker"] = pod(service, words, serves=False)
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LLMInferenceService",
        "metadata": {"name": service.name},
        "spec": spec,
    }
