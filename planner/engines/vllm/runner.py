"""Which of vLLM's two model runners runs a model: it settles what profiling holds.

The second runs in place of the first for a growing list: a few architectures from 0.22, everything
without experts and recurrent layers from 0.25, everything from 0.29. Read from config/vllm
(use_v2_model_runner) of 0.20.2 to 0.33.0; 0.21 was not published as a package that could be read.
"""

from collections.abc import Mapping
from typing import Any

from planner.engines.vllm.versions import Rules
from planner.kinds.mlp import MoE
from planner.kinds.recurrent import Recurrent
from planner.model import Model

ALL_SINCE, ALL_DENSE_SINCE, QUANTISED_SINCE = 29, 25, 24
NAMED_SINCE = {
    "qwen3": 22, "llama": 23, "mistral": 23, "deepseek_v2": 24, "granitemoe": 24, "qwen2_moe": 24,
    "inkling_mm_model": 26, "inkling_text": 26, "longcat_flash_ngram": 26, "kimi_k3": 27,
    "deepseek_v4": 28,
}  # fmt: skip
"""model_type -> the minor version that names its class among those of the second runner."""
DRAFTING_SINCE = {"dflash": 24, "draft_model": 31, "ngram": 32, "suffix": 99, "medusa": 99}
"""Drafting method -> the minor version whose second runner has it, where not from the start."""
STAGES_WITH_EAGLE3_SINCE = 30
FIRST_ON_AMD = {
    "kimi_k3": (27, 28), "deepseek_v4": (28, 32), "deepseek_v32": (29, 32),
    "glm_moe_dsa": (30, 32),
}  # fmt: skip
"""model_type -> the minor versions, from and before, that keep it on the first runner on AMD's
cards where they would have it on the second."""
STAGES_ON_AMD_SINCE = 31
"""From here on that default yields to a pipeline, as the first runner no longer schedules ahead
with one (_get_v1_model_runner_unsupported_features of 0.31.0; 0.30.0 has no such line)."""


def wrapper_of(config: Mapping[str, Any] | None) -> str | None:
    """model_type of the whole file of a configuration."""
    return (config or {}).get("model_type")


def second_runner(
    model: Model,
    rules: Rules,
    method: str | None = None,
    *,
    pools: bool = False,
    quantised: bool = False,
    wrapper: str | None = None,
    stages: int = 1,
    amd: bool = False,
) -> bool:
    """method: of speculative decoding. wrapper: model_type of the whole file, where the decoder is
    a part of it. quantised: its config.json has a quantization_config (is_quantized). stages: of a
    pipeline. amd: on AMD's cards."""
    if method is not None and not rules.since(DRAFTING_SINCE.get(method, 0)):
        return False
    if method == "eagle3" and stages > 1 and not rules.since(STAGES_WITH_EAGLE3_SINCE):
        return False
    name = wrapper or model.model_type
    if amd and name in FIRST_ON_AMD:
        since, until = FIRST_ON_AMD[name]
        staged = stages > 1 and rules.since(STAGES_ON_AMD_SINCE)
        if rules.since(since) and not rules.since(until) and not staged:
            return False
    if rules.since(ALL_SINCE):
        return True
    if pools or (quantised and not rules.since(QUANTISED_SINCE)):
        return False
    if rules.since(NAMED_SINCE.get(name, 99)):
        return True
    return rules.since(ALL_DENSE_SINCE) and not any(
        isinstance(group.mlp, MoE) or any(isinstance(m, Recurrent) for m in group.mixers)
        for group in model.groups
    )
