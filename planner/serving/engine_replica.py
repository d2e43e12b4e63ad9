"""A replica with the memory that an engine gives it: the pool and limits of `plan --engine`.

options = options_for("vllm", {"max_model_len": 32768})
replica = engine_replica(figures, model, gpu, deployment, speed)

Only memory and limits are the engine's; requests are scheduled as in planner.serving.scheduler.
"""

from collections.abc import Mapping
from typing import Any

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.platforms import check_runs
from planner.engines.registry import ENGINES, options_of
from planner.engines.remedies import with_remedies
from planner.errors import PlanRefused
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.serving.drafted_steps import Drafting
from planner.serving.replica import Replica, replica_of
from planner.timing.speed import Speed

FLAGS = {
    "vllm": {
        name: name
        for name in ("block_size", "max_num_batched_tokens", "max_num_seqs", "max_model_len",
                     "enable_prefix_caching", "gpu_memory_utilization", "version",
                     "speculative_config")
    },
    "sglang": {
        "block_size": "page_size", "max_num_batched_tokens": "chunked_prefill_size",
        "max_num_seqs": "max_running_requests", "max_model_len": "context_length",
        "version": "version",
    },
    "tensorrt-llm": {
        "block_size": "tokens_per_block", "max_num_batched_tokens": "max_num_tokens",
        "max_num_seqs": "max_batch_size", "max_model_len": "max_seq_len",
        "enable_prefix_caching": "enable_block_reuse", "version": "version",
    },
    "llama.cpp": {
        "max_num_batched_tokens": "ubatch_size", "max_num_seqs": "parallel",
        "max_model_len": "ctx_size", "version": "version",
    },
}  # fmt: skip
"""What each engine that serves calls vLLM's flags."""
NULL_BLOCKS = {"vllm": 1}
"""Blocks that an engine counts and gives to no request."""


def options_for(engine: str, asked: Mapping[str, Any]) -> Frozen:
    """The engine's options for flags under vLLM's names; None leaves its default."""
    known, values = FLAGS[engine], {}
    for name, value in asked.items():
        if value is None:
            continue
        if name == "enable_prefix_caching" and engine == "sglang":
            values["disable_radix_cache"] = not value
        elif name in known:
            values[known[name]] = value
        elif name != "enable_prefix_caching":
            flag = name.replace("_", "-")
            raise PlanRefused(f"--{flag} means nothing to {ENGINES[engine].label}: leave it out")
    return options_of(engine, values)


def moved(engine: str, options: Frozen, base: Deployment, to: Deployment) -> Frozen:
    """The options with what `to` changes of `base` in the engine's own flags.

    Tokens of a batch are said in any case: without, an engine takes its own number, not the
    deployment's. Raises PlanRefused for what the engine does not let one choose.
    """
    known, values = FLAGS.get(engine, {}), dict(options)
    if to.block_size != base.block_size:
        if "block_size" not in known:
            raise PlanRefused(f"{ENGINES[engine].label} has no blocks to choose")
        values[known["block_size"]] = to.block_size
    if "max_num_batched_tokens" in known:
        values[known["max_num_batched_tokens"]] = to.max_num_batched_tokens
    return options_of(engine, values)


def figures_for(
    engine: str,
    options: Frozen,
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    config: Mapping[str, Any] | None = None,
    draft: Model | None = None,
    *,
    longest: int = 1,
) -> EngineFigures:
    """What `plan --engine` says of the deployment, whose remedies leave room for requests of
    `longest` tokens. Raises PlanRefused as that does."""
    check_runs(engine, model, gpu, deployment, getattr(options, "version", None))
    figures = ENGINES[engine].figures
    more = {} if draft is None else {"draft": draft}
    return with_remedies(
        engine, options,
        lambda changed: figures(model, gpu, deployment, changed, config=config, **more),
        least_tokens=longest,
    )  # fmt: skip


def engine_replica(
    figures: EngineFigures,
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    speed: Speed,
    *,
    config: Mapping[str, Any] | None = None,
    prefix_caching: bool = True,
    drafting: Drafting | None = None,
) -> Replica:
    """The replica of an engine's answer. config: the model's own. Raises PlanRefused where it would
    not start."""
    label = f"{ENGINES[figures.name].label} {figures.version}"
    if figures.name not in FLAGS:
        raise PlanRefused(
            f"{label} generates one batch and schedules no requests: choose another engine, or "
            "memory by bytes alone"
        )
    if figures.refused is not None:
        works = f" ({' or '.join(figures.remedies)} works)" if figures.remedies else ""
        raise PlanRefused(f"{label} would refuse to start{works}: {figures.refused}")
    settings: dict[str, Any] = figures.settings
    batched = int(settings["max_num_batched_tokens"])
    reused = (
        settings.get("enable_prefix_caching", True)
        and settings.get("enable_block_reuse", True)
        and not settings.get("disable_radix_cache", False)
    )
    sized = deployment.replace(block_size=figures.block_size, max_num_batched_tokens=batched)
    one = replica_of(
        ENGINES[figures.name].as_read(model, config), gpu, sized, speed,
        max_num_seqs=min(int(settings["max_num_seqs"]), batched),
        max_model_len=int(settings["max_model_len"]), kv_cache_bytes=figures.kv_cache.bytes,
        prefix_caching=bool(prefix_caching and reused), drafting=drafting,
    )  # fmt: skip
    kept = NULL_BLOCKS.get(figures.name, 0)
    changes: dict[str, Any] = {"memory": label, "kv_cache_bytes": figures.kv_cache.bytes}
    if figures.num_blocks * figures.block_size == figures.kv_cache_tokens:
        changes |= {
            "num_blocks": figures.num_blocks - kept,
            "block_size": figures.block_size,
            "block_bytes": figures.kv_cache.bytes // figures.num_blocks,
            "fixed_blocks": 0,
        }
    if figures.num_blocks - kept == changes.get("num_blocks", one.num_blocks):
        changes["kept_blocks"] = kept
    return one.changed(**changes)
