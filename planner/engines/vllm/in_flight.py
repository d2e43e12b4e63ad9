"""Tokens that vLLM has scheduled and not yet settled, for which a window keeps its blocks.

From 0.26 every batch in flight counts. Asynchronous scheduling adds one to those that fill the
pipeline, for all models with the second model runner and without a pipeline with the first. Read
from vLLM 0.26.0 to 0.33.0 (config/vllm: max_concurrent_batches).
"""

from typing import Literal

from planner.engines.vllm.runner import second_runner
from planner.engines.vllm.versions import Rules
from planner.model import Model

Overlap = Literal["none", "first", "all"]
"""When a batch is scheduled ahead: never, on one pipeline stage only, always."""
AHEAD_SINCE = {"draft_model": 29, "ngram": 32, "suffix": 99, "medusa": 99}
"""Drafting method -> the minor version that schedules ahead with it."""


def overlap_of(
    model: Model,
    rules: Rules,
    method: str | None,
    *,
    pools: bool,
    wrapper: str | None = None,
    amd: bool = False,
) -> Overlap:
    """method: of speculative decoding, None without. pools: a pooling model. wrapper, amd: as
    second_runner has them."""
    if pools:
        return "none"
    if method is not None and not rules.since(AHEAD_SINCE.get(method, 0)):
        return "none"
    second = second_runner(model, rules, method, wrapper=wrapper, stages=2, amd=amd)
    return "all" if second else "first"


def in_flight_tokens(
    rules: Rules, max_num_batched_tokens: int, stages: int = 1, overlap: Overlap = "all"
) -> int:
    """Tokens scheduled before a window moves on: of one batch, or of all that are in flight."""
    if not rules.counts_batches_in_flight:
        return max_num_batched_tokens
    ahead = overlap == "all" or (overlap == "first" and stages == 1)
    return (stages + ahead) * max_num_batched_tokens


def retained_tokens(model: Model, rules: Rules, method: str | None, drafted: int) -> int:
    """Tokens that a window keeps besides, where several of the model's own layers draft in turn and
    the last ones of a chunk are computed again (0.27.1: none; 0.28.0)."""
    layers = sum(group.count for group in model.mtp) if method == "mtp" else 0
    return drafted - 1 if rules.since(28) and min(layers, drafted) > 1 else 0
