"""The engines a search knows, and plain bytes as one of them.

rule_of("sglang", model, config).admission(asked)
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
from planner.errors import PlanRefused
from planner.footprint import DEFAULT_SM_COUNT, footprint
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.search.space import IDEAL
from planner.sweep import binding_bytes
from planner.workload import Workload


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


def label_of(engine: str) -> str:
    """'vLLM 0.33.0'; 'bytes alone' for none."""
    if engine == IDEAL:
        return "bytes alone"
    return f"{ENGINES[engine].label} {ENGINES[engine].versions[0]}"
