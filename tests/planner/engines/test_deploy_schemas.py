"""Deployment files against the schemas of what reads them: Ray, KServe, LeaderWorkerSet.

Ray's and KServe's checks need their packages (requirements-schemas.txt); the schemas that no
package ships are restated with their source in data/deploy_schemas.json.
"""

import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import json
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from planner.deployment import Deployment
from planner.engines.deploy import files
from planner.engines.deploy.ray_serve import ACCELERATORS
from planner.engines.sglang.figures import sglang_figures
from planner.engines.sglang.options import SglangOptions
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions
from planner.hf_config import parse
from presets.gpus import gpu_ids, load_gpu
from presets.models import load_model_config

yaml = pytest.importorskip("yaml", reason="PyYAML reads the files back")
RESTATED = json.loads((Path(__file__).parents[1] / "data" / "deploy_schemas.json").read_text())
NAME = "Qwen/Qwen3-30B-A3B"
CONFIG = load_model_config(NAME)
MODEL = parse(CONFIG, NAME)
H200 = "h200-sxm-141gb"
WEIGHTS = 2 * 30_532_122_624
ONE, EIGHT = Deployment(), Deployment(tensor_parallel_size=8)
SPREAD = Deployment(tensor_parallel_size=2, data_parallel_size=4, enable_expert_parallel=True)
STAGES = Deployment(tensor_parallel_size=8, pipeline_parallel_size=2)
NODES = Deployment(data_parallel_size=16, enable_expert_parallel=True)
FLAGS: dict[str, Any] = {
    "gpu_memory_utilization": 0.85,
    "max_model_len": 8192,
    "max_num_seqs": 64,
    "max_num_batched_tokens": 4096,
    "block_size": 32,
    "kv_offloading_size": 8.0,
    "enable_prefix_caching": False,
    "enforce_eager": True,
    "max_loras": 2,
    "max_lora_rank": 32,
    "speculative_config": {"method": "ngram", "num_speculative_tokens": 3},
}
"""Every kind of flag: number, fraction, switch, its opposite, JSON."""
PLANS = {
    "plain": (ONE, {}),
    "flags": (EIGHT.replace(weights_dtype="fp8", kv_cache_dtype="fp8"), FLAGS),
    "pool": (ONE, {"kv_cache_memory_bytes": 2**34, "disable_hybrid_kv_cache_manager": True}),
    "data parallel": (SPREAD, {}),
    "two nodes": (STAGES, {}),
    "data parallel over two nodes": (NODES, {}),
}


def written(deployment: Deployment, gpu: str = H200, **flags: Any) -> dict[str, Any]:
    figures = vllm_figures(
        MODEL, load_gpu(gpu), deployment, VllmOptions(**flags), config=CONFIG, name=NAME
    )
    assert figures.refused is None, figures.refused
    return files(figures, NAME, deployment, load_gpu(gpu), WEIGHTS)


def documents(text: str) -> list[Any]:
    return list(yaml.safe_load_all(text))


@pytest.mark.parametrize("plan", PLANS)
def test_llm_inference_service(plan: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema reads the restated schema")
    deployment, flags = PLANS[plan]
    found = written(deployment, **flags)
    if plan == "two nodes":
        assert "llm-d.yaml" not in found
        return
    (document,) = documents(found["llm-d.yaml"])
    jsonschema.validate(document, RESTATED["LLMInferenceService"]["schema"])
    for wrong in ({"pipeline": 2, "data": 2, "dataLocal": 1}, {"data": 2}, {"tensor": 0}):
        document["spec"]["parallelism"] = wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document, RESTATED["LLMInferenceService"]["schema"])


def test_llm_inference_service_takes_no_stages_beside_replicas() -> None:
    both = Deployment(pipeline_parallel_size=2, data_parallel_size=2)
    assert "llm-d.yaml" not in written(both)
    assert "kubernetes.yaml" in written(both)


@pytest.mark.parametrize("version", ["0.33.0", "0.11.0", "sglang"])
def test_leader_worker_set(version: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema reads the restated schema")
    if version == "sglang":
        figures = sglang_figures(MODEL, load_gpu(H200), STAGES, SglangOptions(), name=NAME)
        found = files(figures, NAME, STAGES, load_gpu(H200), WEIGHTS)
    else:
        found = written(STAGES, version=version)
    document = documents(found["leader-worker-set.yaml"])[0]
    schema = RESTATED["LeaderWorkerSet"]["schema"]
    jsonschema.validate(document, schema)
    document["spec"]["leaderWorkerTemplate"]["restartPolicy"] = "Always"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def follows(kserve: Any, kubernetes: Any, kind: str, value: Any, at: str = "") -> None:
    """Raise AssertionError where a value is not what KServe's or Kubernetes' model of it says."""
    container = re.fullmatch(r"(list|dict)[\[(](?:str, )?(.+)[\])]", kind, re.IGNORECASE)
    if container:
        items = dict(enumerate(value)) if container[1].lower() == "list" else value
        assert isinstance(value, list if container[1].lower() == "list" else dict), at
        for key, item in items.items():
            follows(kserve, kubernetes, container[2], item, f"{at}.{key}")
    elif kind in ("str", "int", "bool"):
        assert type(value) is {"str": str, "int": int, "bool": bool}[kind], f"{at} is no {kind}"
    elif model := getattr(kserve, kind, None) or getattr(kubernetes, kind, None):
        assert isinstance(value, dict), at
        attributes = {json_name: name for name, json_name in model.attribute_map.items()}
        assert set(value) <= set(attributes), f"{at}: {set(value) - set(attributes)} are unknown"
        assert model(**{attributes[key]: item for key, item in value.items()})
        for key, item in value.items():
            follows(kserve, kubernetes, model.openapi_types[attributes[key]], item, f"{at}.{key}")
    else:
        assert kind in ("object", "IntstrIntOrString", "ResourceQuantity"), f"{at}: {kind}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_inference_service_follows_kserves_models() -> None:
    reason = "KServe's models of an InferenceService (requirements-schemas.txt)"
    kserve = pytest.importorskip("kserve", reason=reason)
    kubernetes = importlib.import_module("kubernetes.client")
    for plan in ("plain", "flags", "data parallel"):
        deployment, flags = PLANS[plan]
        (document,) = documents(written(deployment, **flags)["kserve.yaml"])
        follows(kserve, kubernetes, "V1beta1InferenceService", document)
        document["spec"]["predictor"]["containers"][0]["imagge"] = "x"
        with pytest.raises(AssertionError, match="imagge"):
            follows(kserve, kubernetes, "V1beta1InferenceService", document)


class Absent(types.ModuleType):
    """A module that is not installed: every name in it is a class without fields."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        found = type(name, (BaseModel,), {"__module__": self.__name__})
        setattr(self, name, found)
        return found


class AbsentVllm(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """vLLM, which Ray's builder imports and which needs gigabytes of CUDA libraries."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] == "vllm":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Absent:
        return Absent(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__ == "vllm.engine.arg_utils":
            names = RESTATED["vllm_engine_args"]["names"]
            vars(module)["AsyncEngineArgs"] = dataclasses.make_dataclass("AsyncEngineArgs", names)
        if module.__name__ == "vllm.entrypoints.launchers.cli_args":
            vars(module)["FrontendArgs"] = dataclasses.make_dataclass("FrontendArgs", [])


@pytest.fixture(scope="module")
def ray_llm() -> Iterator[Any]:
    """Ray Serve LLM's public module; without vLLM its protocol classes and flags are stood in."""
    reason = "Ray Serve's schemas (requirements-schemas.txt)"
    for name in ("ray.serve", "pyarrow", "fsspec", "httpx"):
        pytest.importorskip(name, reason=reason)
    stand_in = AbsentVllm()
    if importlib.util.find_spec("vllm") is None:
        sys.meta_path.append(stand_in)
    yield importlib.import_module("ray.serve.llm")
    if stand_in in sys.meta_path:
        sys.meta_path.remove(stand_in)


@pytest.mark.parametrize("plan", PLANS)
def test_ray_serve_files_follow_rays_schemas(ray_llm: Any, plan: str) -> None:
    schema = importlib.import_module("ray.serve.schema")
    patterns = "ray.llm._internal.serve.serving_patterns"
    builder = importlib.import_module(f"{patterns}.data_parallel.builder")
    deployment, flags = PLANS[plan]
    (document,) = documents(written(deployment, **flags)["ray-serve.yaml"])
    (application,) = schema.ServeDeploySchema.model_validate(document).applications
    module, _, function = application.import_path.partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    if deployment.data_parallel_size > 1:
        assert function == "build_dp_openai_app"
        config = builder.DPOpenAiServingArgs.model_validate(application.args).llm_config
    else:
        assert function == "build_openai_app"
        (config,) = ray_llm.LLMServingArgs.model_validate(application.args).llm_configs
    ray_llm.LLMConfig.model_validate(config.model_dump(include=set(type(config).model_fields)))
    engine = config.get_engine_config()
    assert engine.actual_hf_model_id == NAME
    assert engine.num_devices * deployment.data_parallel_size == deployment.gpus
    assert engine.placement_bundles == [{"GPU": 1, "accelerator_type:H200": 0.001}] * (
        engine.num_devices
    )
    assert engine.get_initialization_kwargs()["distributed_executor_backend"] == "ray"


def test_rays_check_can_fail(ray_llm: Any) -> None:
    (document,) = documents(written(ONE)["ray-serve.yaml"])
    (config,) = document["applications"][0]["args"]["llm_configs"]
    for field, wrong in (
        ("accelerator_type", "H9000"), ("deployment_config", {"num_replicas": -1}),
        ("unknown", 1), ("model_loading_config", {"model": "x"}),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            ray_llm.LLMConfig.model_validate({**config, field: wrong})
    bad = ray_llm.LLMConfig.model_validate({**config, "engine_kwargs": {"headless": True}})
    with pytest.raises(ValueError, match="headless"):
        bad.get_engine_config()


def test_every_card_has_a_name_that_ray_knows(ray_llm: Any) -> None:
    accelerators = importlib.import_module("ray.util.accelerators.accelerators")
    assert set(ACCELERATORS.values()) <= {v for v in vars(accelerators).values() if type(v) is str}
    named = {g for g in gpu_ids() if any(f"{g}-".startswith(f"{s}-") for s in ACCELERATORS)}
    assert {"a100-sxm4-80gb", "rtx-pro-6000-blackwell-server", "gb200-186gb", "a10g"} <= named
    assert not {"l40", "a40", "rtx-4090"} & named
