"""TensorRT-LLM (PyTorch backend): a fraction of what is free after weights and a dummy prefill.

    figures = tensorrt_llm_figures(model, gpu, Deployment(), TensorrtLlmOptions())

KV = (total - peak) x free_gpu_memory_fraction, in blocks of 32 tokens; the peak counts everything
in use, the CUDA context too. Source: TensorRT-LLM 1.1 to 1.2, pyexecutor _util and
resource_manager. Its peak is not calibrated against logs, so activations carry a wide range.
"""

from collections.abc import Mapping
from typing import Any

from planner import overheads
from planner.deployment import Deployment
from planner.engines.cache_dtypes import check_cache_dtype
from planner.engines.checkpoint import Checkpoint, checkpoint_of
from planner.engines.engine import EngineFigures, within
from planner.engines.extended import extended, in_config_file, notes_on
from planner.engines.stages import left_of, shared_requests, stages
from planner.engines.tensorrt_llm.command import config_file, serve_command
from planner.engines.tensorrt_llm.options import TensorrtLlmOptions
from planner.engines.tensorrt_llm.rank import Rank, rank_of
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.formats.dtypes import kv_format
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import check
from planner.rope.extension import Extension
from planner.run_dtype import as_run
from planner.units import GIB, ceil_div
from planner.workload import Workload

NAME = "tensorrt-llm"


def tensorrt_llm_figures(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: TensorrtLlmOptions,
    workload: Workload | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    draft: Model | None = None,
    name: str | None = None,
) -> EngineFigures:
    """The figures of the rank that binds. draft: a model whose cache is added to each token.

    Raises PlanRefused where inputs contradict each other.
    """
    check(model, deployment)
    model, config, longer = extended(model, config, workload, options.max_seq_len)
    if longer is not None:
        options = options.model_copy(update={"max_seq_len": longer.context_tokens})
    model = as_run(model, "auto", model.saved_dtype)
    checkpoint = checkpoint_of(name or model.source, model, deployment, {})
    model = as_run(model, deployment.weights_dtype)
    check_cache_dtype("TensorRT-LLM", ("fp8", "nvfp4"), model, deployment)
    longest = options.max_seq_len or model.max_position_embeddings
    if longest is None:
        raise PlanRefused("max_position_embeddings is not in the configuration: give --max-seq-len")
    fmt = kv_format(deployment.kv_cache_dtype, model.own_cache)
    ranks = [
        rank_of(stage, model, gpu, deployment, options, fmt, draft)
        for stage in stages(model, deployment, config)
    ]
    tokens = [_tokens(rank, options) for rank in ranks]
    binding = tokens.index(min(tokens))
    rank, size = ranks[binding], options.tokens_per_block
    blocks = max(0, tokens[binding]) // size
    share = options.free_gpu_memory_fraction
    over = next((r for r in ranks if blocks * size * r.allocated > r.left / share), None)
    refused = None if over is None else _over(over, blocks * size, options)
    if refused or not blocks:
        blocks, refused = 0, refused or _refused(rank, gpu, options)
    each = ceil_div(longest, size)
    outside = {} if options.disable_cuda_graph else {"cuda_graphs": overheads.GRAPHS}
    return EngineFigures(
        name=NAME,
        replicas=deployment.data_parallel_size,
        version=options.version,
        budget_bytes=gpu.memory_bytes,
        components=rank.components,
        kv_cache=_kv_cache(rank, options),
        block_size=size,
        num_blocks=blocks,
        kv_cache_tokens=blocks * size,
        max_concurrency=blocks / each,
        blocks_per_request=each,
        requests=_requests(blocks, options, longest, workload),
        settings={
            "free_gpu_memory_fraction": options.free_gpu_memory_fraction,
            "max_model_len": longest,
            "max_num_seqs": options.max_batch_size,
            "max_num_batched_tokens": options.max_num_tokens,
            "enable_block_reuse": options.enable_block_reuse,
        },
        command=serve_command(_loaded(checkpoint, longer), deployment, options),
        refused=refused,
        log_lines=() if refused else _log_lines(blocks, rank, options, longest),
        notes=(
            notes_on(None, model, workload, options.max_seq_len)
            if longer is None
            else (in_config_file("TensorRT-LLM", longer, config),)
        )
        + _notes(model, rank, blocks, options, longest),
        host_bytes=options.host_cache_size,
        binding_stage=binding,
        outside_budget=outside,
        drafts=draft is not None,
        config_file=config_file(deployment, options),
    )


def _loaded(checkpoint: Checkpoint, longer: Extension | None) -> str:
    """Its name; a placeholder where it is saved in another dtype or has other positions, which no
    flag changes."""
    other = [] if checkpoint.dtype is None else [f"saved in {checkpoint.dtype}"]
    if longer is not None:
        other.append("with that in its config.json")
    return f"<{checkpoint.name} {' and '.join(other)}: its id here>" if other else checkpoint.name


def _tokens(rank: Rank, options: TensorrtLlmOptions) -> int:
    if not rank.priced:
        return 0
    found = (rank.left - rank.states) // rank.priced
    return found if options.max_tokens is None else min(found, options.max_tokens)


def _kv_cache(rank: Rank, options: TensorrtLlmOptions) -> Estimate:
    share = options.free_gpu_memory_fraction
    free = rank.left / share
    source = "(total - peak) x free_gpu_memory_fraction"
    found = left_of(int(free), rank.components.values(), source)
    low, high = (int(size * share) for size in (found.low_bytes, found.high_bytes))
    size = max(0, rank.left - rank.states)
    if options.max_tokens is not None:
        cap = options.max_tokens * rank.priced
        size, low, high = min(size, cap), min(low, cap), min(high, cap)
    return within(size, max(0, low - rank.states), max(0, high - rank.states), found.source)


def _over(rank: Rank, tokens: int, options: TensorrtLlmOptions) -> str:
    free = rank.left / options.free_gpu_memory_fraction
    return (
        f"Out of memory: a rank keeps a whole KV head, and tokens are priced as if it kept a part: "
        f"the pool takes {rank.allocated / rank.priced:.1f} times its price, "
        f"{tokens * rank.allocated / GIB:.2f} GiB of {free / GIB:.2f} free; "
        "lower --kv_cache_free_gpu_memory_fraction."
    )


def _refused(rank: Rank, gpu: Gpu, options: TensorrtLlmOptions) -> str:
    if rank.left > 0 and rank.states:
        return (
            f"The states of {options.max_batch_size:,} sequences take {rank.states / GIB:.2f} GiB "
            f"of {rank.left / GIB:.2f}: lower --max-batch-size."
        )
    if rank.left > 0 and not rank.priced:
        return "The model keeps no cache, which this engine's pool needs."
    spent = sum(part.bytes for part in rank.components.values())
    return (
        f"Out of memory: weights, one prefill and run time take {spent / GIB:.2f} GiB of "
        f"{gpu.memory_bytes / GIB:.2f}; use more GPUs or a smaller format."
    )


def _requests(
    blocks: int, options: TensorrtLlmOptions, longest: int, workload: Workload | None
) -> int:
    if not blocks:
        return 0
    work, size = workload or Workload(context=longest), options.tokens_per_block
    context = min(work.context, longest)
    common = min(work.shared_prefix_tokens, context) // size if options.enable_block_reuse else 0
    prompt = min(work.prompt_tokens or 0, context) // size
    found = shared_requests(blocks, ceil_div(context, size), common, work.beam_width, prompt)
    return min(found, options.max_batch_size)


def _log_lines(
    blocks: int, rank: Rank, options: TensorrtLlmOptions, longest: int
) -> tuple[str, ...]:
    size = options.tokens_per_block
    secondary = options.host_cache_size // (rank.allocated * size)
    return (
        f"Max KV cache blocks per sequence: {ceil_div(longest, size)} [window size={longest}], "
        f"tokens per block={size}, primary blocks={blocks}, secondary blocks={secondary}",
        f"[MemUsageChange] Allocated {blocks * size * rank.allocated / GIB:.2f} GiB for max tokens "
        f"in paged KV cache ({blocks * size}).",
    )


def _notes(
    model: Model, rank: Rank, blocks: int, options: TensorrtLlmOptions, longest: int
) -> tuple[str, ...]:
    found = ["The fraction is of what is free after weights and prefill, not of the card."]
    if rank.allocated > rank.priced:
        found.append(
            "Tokens are priced as if KV heads could be split further than one a rank, so that the "
            f"pool takes {rank.allocated / rank.priced:.1f} times the memory meant for it."
        )
    if any(t.window for group in model.groups for t in group.cache()):
        found.append("Windows save nothing here: versions differ, and layers are taken as full.")
    if blocks and blocks * options.tokens_per_block < longest:
        found.append("A sequence of the full length does not fit: lower --max-seq-len.")
    return tuple(found)
