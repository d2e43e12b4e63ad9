"""The engines by name: their options, the function that gives their figures, their versions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from planner.engines.engine import EngineFigures
from planner.engines.llama_cpp import figures as llama_cpp
from planner.engines.llama_cpp.options import LlamaCppOptions
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


@dataclass(frozen=True, slots=True)
class Engine:
    """label: how people write it. versions: those that are described, newest first."""

    name: str
    label: str
    options: type[Frozen]
    figures: Callable[..., EngineFigures]
    versions: tuple[str, ...]


VLLM_VERSIONS = ("0.33.0", "0.28.0", "0.24.0", "0.20.2", "0.19.1", "0.15.1", "0.11.0", "0.8.5")

ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(vllm.NAME, "vLLM", VllmOptions, vllm.vllm_figures, VLLM_VERSIONS),
        Engine(sglang.NAME, "SGLang", SglangOptions, sglang.sglang_figures, ("0.5.23",)),
        Engine(
            tensorrt_llm.NAME, "TensorRT-LLM", TensorrtLlmOptions,
            tensorrt_llm.tensorrt_llm_figures, ("1.2",),
        ),
        Engine(
            llama_cpp.NAME, "llama.cpp", LlamaCppOptions, llama_cpp.llama_cpp_figures, ("2026",)
        ),
        Engine(
            transformers_engine.NAME, "transformers", TransformersOptions,
            transformers_engine.transformers_figures, ("5.23.0",),
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
