"""The engines a search knows, what each runs on, and plain bytes as one of them.

    rule_of("sglang", model, config).admission(asked)

Where engines run: vLLM's installation notes (CUDA from compute capability 7.0; ROCm on gfx90a,
gfx942, gfx950 and gfx11 to gfx12; Gaudi, TPU and Intel XPU by plugins), SGLang's (CUDA from 7.5,
ROCm on gfx942 and gfx950, Intel XPU), TensorRT-LLM's support matrix (CUDA from 8.0), llama.cpp's
list of backends (CUDA, HIP, Metal, SYCL).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from planner.admission.admission import Admission, Asked, Rule, memory_of
from planner.admission.llama_cpp import LlamaCppRule
from planner.admission.sglang import SglangRule
from planner.admission.tensorrt_llm import TensorrtLlmRule
from planner.admission.vllm import VllmRule
from planner.deployment import Deployment
from planner.engines.registry import ENGINES
from planner.engines.vllm_options import capability
from planner.errors import PlanRefused
from planner.footprint import DEFAULT_SM_COUNT, footprint
from planner.formats.gguf_assignment import is_gguf
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.search_space import IDEAL
from planner.sweep import binding_bytes
from planner.workload import Workload

CUDA_SINCE = {"vllm": 7.0, "sglang": 7.5, "tensorrt-llm": 8.0, "llama.cpp": 5.0}
AMD_BUILDS = {
    "vllm": ("gfx90a", "gfx942", "gfx950", "gfx11", "gfx12"),
    "sglang": ("gfx942", "gfx950"),
    "llama.cpp": ("gfx",),
}
OTHER_VENDORS = {
    "vllm": ("Intel", "Google"),
    "sglang": (),
    "tensorrt-llm": (),
    "llama.cpp": ("Apple",),
}


class IdealRule:
    """Bytes alone: what plan() counts, in all of the card."""

    def __init__(self, model: Model, config: Mapping[str, Any] | None = None) -> None:
        self.model = model

    def options(self, gpu: Gpu, deployment: Deployment, context: int, sequences: int) -> Frozen:
        """None to choose."""
        return Frozen()

    def admission(self, asked: Asked) -> Admission:
        """Of one sequence and those that are tried, the most that fit. All GPUs have the overheads
        of the first."""
        cores = np.asarray([gpu.sm_count or DEFAULT_SM_COUNT for gpu in asked.gpus], dtype=np.int64)
        tried = np.concatenate(([1], asked.sequences))
        needed = binding_bytes(
            footprint(self.model, asked.gpus[0], asked.deployment),
            np.asarray(asked.context, dtype=np.int64),
            tried[None, None, :],
            Workload(),
            np.asarray(asked.chunk_tokens, dtype=np.int64)[None, :, None],
            cores[:, None, None],
        )
        room = np.broadcast_to(memory_of(asked.gpus), (*needed.shape[:2], 1))
        admitted = np.where(needed <= room, tried, 0).max(axis=2, keepdims=True)
        return Admission(admitted, needed[:, :, 1:], room)


RULES: Mapping[str, Callable[[Model, Mapping[str, Any] | None], Rule]] = {
    IDEAL: IdealRule,
    "vllm": VllmRule,
    "sglang": SglangRule,
    "tensorrt-llm": TensorrtLlmRule,
    "llama.cpp": LlamaCppRule,
}


def rule_of(engine: str, model: Model, config: Mapping[str, Any] | None = None) -> Rule:
    """Raises PlanRefused for a name that no rule has."""
    if engine not in RULES:
        raise PlanRefused(f"engine {engine!r} is not searched; choose any, {', '.join(RULES)}")
    return RULES[engine](model, config)


def not_laid_out(engine: str, deployment: Deployment) -> str | None:
    """What of the layout the engine is not described with, as a sentence; None where all is."""
    if engine == IDEAL:
        return None
    if deployment.context_parallel_size > 1:
        return f"{ENGINES[engine].label} is not described with a prefill ring"
    if deployment.decode_context_parallel_size > 1 and engine != "vllm":
        return f"{ENGINES[engine].label} is not described with decode context parallelism"
    return None


def label_of(engine: str) -> str:
    """'vLLM 0.33.0'; 'bytes alone' for none."""
    if engine == IDEAL:
        return "bytes alone"
    return f"{ENGINES[engine].label} {ENGINES[engine].versions[0]}"


def not_on(engine: str, gpu: Gpu, weights_dtype: str) -> str | None:
    """Why the engine does not run such weights on that GPU, as a sentence; None where it does."""
    if engine == IDEAL:
        return None
    label = ENGINES[engine].label
    if engine == "tensorrt-llm" and is_gguf(weights_dtype):
        return f"{label} reads no GGUF files"
    if _runs(engine, gpu):
        return None
    return f"{label} does not run on {gpu.name}"


def _runs(engine: str, gpu: Gpu) -> bool:
    if gpu.vendor == "NVIDIA":
        return capability(gpu) >= CUDA_SINCE[engine]
    if gpu.vendor == "AMD":
        words = f"{gpu.architecture or ''} {gpu.compute_capability or ''}".split()
        builds = AMD_BUILDS.get(engine, ())
        return any(word.startswith(builds) for word in words)
    return gpu.vendor == "custom" or gpu.vendor in OTHER_VENDORS[engine]
