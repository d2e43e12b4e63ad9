"""The engines by name: their options, the function that gives their figures, their versions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.llama_cpp import figures as llama_cpp
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.llama_cpp.windows import as_read
from planner.engines.sglang import figures as sglang
from planner.engines.sglang.options import SglangOptions
from planner.engines.tensorrt_llm import figures as tensorrt_llm
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.engines.transformers import figures as transformers_engine
from planner.engines.transformers.options import TransformersOptions
from planner.engines.vllm import figures as vllm
from planner.engines.vllm.options import VllmOptions
from planner.errors import PlanRefused
from planner.export import first_error
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.units import ceil_div
from planner.workload import Workload


@dataclass(frozen=True, slots=True)
class Engine:
    """label: how people write it. versions: those that are described, newest first. as_read: the
    model as it runs it, where that is not as published."""

    name: str
    label: str
    options: type[Frozen]
    figures: Callable[..., EngineFigures]
    versions: tuple[str, ...]
    as_read: Callable[[Model, Mapping[str, Any] | None], Model] = lambda model, _: model


def _on_each(own: Callable[..., EngineFigures]) -> Callable[..., EngineFigures]:
    """An engine's figures, of a server for each replica where cards cannot be joined."""

    def found(
        model: Model,
        gpu: Gpu,
        deployment: Deployment,
        options: Frozen,
        workload: Workload | None = None,
        **rest: Any,
    ) -> EngineFigures:
        servers = deployment.data_parallel_size
        if not gpu.stands_alone or servers == 1:
            return own(model, gpu, deployment, options, workload, **rest)
        if workload is not None:
            each = ceil_div(workload.concurrency, servers)
            workload = workload.model_copy(update={"concurrency": each})
        one = own(model, gpu, deployment.replace(data_parallel_size=1), options, workload, **rest)
        note = (
            f"Slices have no link to each other: start this server on each of the {servers}, "
            "behind a router that spreads the requests."
        )
        return replace(one, replicas=servers, notes=(note, *one.notes))

    return found


VLLM_VERSIONS = ("0.33.0", "0.28.0", "0.24.0", "0.20.2", "0.19.1", "0.15.1", "0.11.0", "0.8.5")

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(vllm.NAME, "vLLM", VllmOptions, _on_each(vllm.vllm_figures), VLLM_VERSIONS),
        Engine(sglang.NAME, "SGLang", SglangOptions, _on_each(sglang.sglang_figures), ("0.5.23",)),
        Engine(
            tensorrt_llm.NAME, "TensorRT-LLM", TensorrtLlmOptions,
            _on_each(tensorrt_llm.tensorrt_llm_figures), ("1.2",),
        ),
        Engine(
            llama_cpp.NAME, "llama.cpp", LlamaCppOptions, _on_each(llama_cpp.llama_cpp_figures),
            ("2026",), as_read,
        ),
        Engine(
            transformers_engine.NAME, "transformers", TransformersOptions,
            _on_each(transformers_engine.transformers_figures), ("5.23.0",),
        ),
    )
}  # fmt: skip


def called(name: str, version: str) -> str:
    """'vLLM 0.33.0': an engine as people write it; an unknown one by its own name."""
    known = ENGINES.get(name)
    return f"{name if known is None else known.label} {version}"


def options_of(name: str, values: Mapping[str, Any]) -> Frozen:
    """The options of an engine; raises PlanRefused saying in a sentence what is wrong."""
    engine = ENGINES.get(name)
    if engine is None:
        raise PlanRefused(f"engine {name!r} is not known; choose one of {', '.join(ENGINES)}")
    try:
        return engine.options(**values)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None
