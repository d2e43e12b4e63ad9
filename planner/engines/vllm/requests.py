"""How many requests of a workload the pool admits, rather than of max_model_len."""

from planner.deployment import Deployment
from planner.engines.vllm.fit import Lengths
from planner.engines.vllm.in_flight import in_flight_tokens
from planner.engines.vllm.kv_groups import Group
from planner.engines.vllm.options import Settings
from planner.engines.vllm.pool import Pool
from planner.workload import Workload


def requests_in(
    pool: Pool, settings: Settings, workload: Workload | None, deployment: Deployment
) -> int:
    """Requests of the workload's context that fit at once on one replica; 0 without a pool.

    The null block is set aside, lookahead slots of speculation are added. A beam (or parallel
    sample) is a sequence of its own that shares its prompt's full blocks, and with prefix caching
    all requests share the common prefix's. Only full attention is shared, which is what stays.
    """
    if not pool.num_blocks or not pool.groups:
        return 0
    work = workload or Workload(context=settings.max_model_len)
    split = deployment.decode_context_parallel_size
    context = min(settings.max_model_len, work.context + settings.speculative_tokens)
    whole, entering = blocks_of(pool.groups, settings, deployment, context)
    common = _shared(pool, work.shared_prefix_tokens, split) if settings.prefix_caching else 0
    prompt = max(common, _shared(pool, work.prompt_tokens or 0, split))
    each = whole - common + (work.beam_width - 1) * (whole - prompt)
    return max(0, (pool.num_blocks - 1 - common - entering) // max(1, each))


def most_running(settings: Settings, workload: Workload | None) -> int:
    """Requests that max_num_seqs runs at once; each of a request's beams is a sequence."""
    return settings.max_num_seqs // (1 if workload is None else workload.beam_width)


def blocks_of(
    groups: tuple[Group, ...], settings: Settings, deployment: Deployment, context: int
) -> tuple[int, int]:
    """Blocks of a request of `context` tokens that is being decoded, and how many more one needs
    to enter.

    A newcomer is let in when its prompt, with a window's worth of tokens in flight, fits into what
    is free; requests that are decoding hold their windows and the tokens of a step or two, and all
    prompts together are never more in flight than the batches hold. Source: vLLM 0.33.0, v1/core
    /kv_cache_manager (full_sequence_must_fit) and single_type_kv_cache_manager.
    """
    stages, split = deployment.pipeline_parallel_size, deployment.decode_context_parallel_size

    def blocks(tokens: int) -> int:
        flight = in_flight_tokens(settings.rules, tokens, stages, settings.overlap)
        return Lengths(context, flight + settings.retained_tokens, split).blocks(groups)

    held = blocks(1 + settings.speculative_tokens)
    return held, blocks(settings.max_num_batched_tokens) - held


def _shared(pool: Pool, tokens: int, split: int) -> int:
    """Full blocks of the first tokens, over the groups that hold a whole sequence."""
    return sum(tokens // split // g.spec.block_size for g in pool.groups if g.spec.is_full)
