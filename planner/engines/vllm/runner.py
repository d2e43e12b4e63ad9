"""Which of vLLM's two model runners runs a model: it settles what profiling holds.

The second runs in place of the first for a growing list: a few architectures from 0.22, everything
without experts and recurrent layers from 0.25, everything from 0.29. Read from config/vllm
(use_v2_model_runner) of 0.20.2 to 0.33.0; 0.21 was not published as a package that could be read.
"""

from planner.engines.vllm.versions import Rules
from planner.kinds.mlp import MoE
from planner.kinds.recurrent import Recurrent
from planner.model import Model

ALL_SINCE, ALL_DENSE_SINCE, QUANTISED_SINCE = 29, 25, 24
NAMED_SINCE = {
    "qwen3": 22, "llama": 23, "mistral": 23, "deepseek_v2": 24, "granitemoe": 24, "qwen2_moe": 24,
    "inkling": 26, "kimi_k3": 27, "deepseek_v4": 28,
}  # fmt: skip
"""model_type -> the minor version that names its class among those of the second runner."""
DRAFTING_SINCE = {"ngram": 32, "draft_model": 31, "suffix": 99, "medusa": 99}
"""Drafting method -> the minor version whose second runner has it, where not from the start."""


def second_runner(
    model: Model,
    rules: Rules,
    method: str | None = None,
    *,
    pools: bool = False,
    quantised: bool = False,
    wrapper: str | None = None,
) -> bool:
    """method: of speculative decoding. wrapper: model_type of the whole file, where the decoder is
    a part of it."""
    if method is not None and not rules.since(DRAFTING_SINCE.get(method, 0)):
        return False
    if rules.since(ALL_SINCE):
        return True
    if pools or (quantised and not rules.since(QUANTISED_SINCE)):
        return False
    if rules.since(NAMED_SINCE.get(wrapper or model.model_type, 99)):
        return True
    return rules.since(ALL_DENSE_SINCE) and not any(
        isinstance(group.mlp, MoE) or any(isinstance(m, Recurrent) for m in group.mixers)
        for group in model.groups
    )
