"""The block pool that vLLM makes of a KV budget: blocks, printed tokens, concurrency, refusals.

    specs = align([LayerSpec("full", 16, 4096, (8, 128))] * 32, rules)
    pool = make_pool(specs, [10 * GIB], rules, max_model_len=8192, max_num_batched_tokens=8192)
    pool.num_blocks, pool.kv_cache_tokens, pool.max_concurrency

Each pipeline stage divides its budget by what a block costs its own layers; the fewest blocks
hold for all. Concurrency counts the null block, which no request can use. Equals vLLM's own code
on every shared case (0.11.0, 0.20.2, 0.33.0), refusals and estimated lengths included, and on
random layers, budgets and parallel sizes in every minor version from 0.11 but 0.15.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from planner.engines.vllm.fit import NOTHING_LEFT, Lengths, Refusal, first_refusal, ungrouped
from planner.engines.vllm.in_flight import Overlap, in_flight_tokens
from planner.engines.vllm.kv_groups import CannotGroup, Group, Grouping, group_layers
from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.versions import Rules
from planner.parallelism import stage_spans
from planner.units import ceil_div

KERNEL_BLOCK = 16
LATENT_KERNEL_BLOCKS = {27: 128, 20: 16, 12: 64}
"""Minor version -> what the blocks of latent attention beside states grow in; 16 before."""
CACHELESS_STAGE = (
    "A pipeline stage holds no layer with a cache of its own, which vLLM cannot divide its memory "
    "by: use fewer stages."
)


@dataclass(frozen=True, slots=True)
class Pool:
    """What the engine prints. groups and bytes_per_block are those of the first stage.

    refused: the engine's sentence when it will not start, with the longest length that it
    estimates would do; the figures are then 0.
    """

    num_blocks: int = 0
    kv_cache_tokens: int = 0
    max_concurrency: float = 0.0
    blocks_per_request: int = 0
    groups: tuple[Group, ...] = ()
    bytes_per_block: int = 0
    padding: tuple[tuple[int, float], ...] = ()
    refused: str | None = None
    estimated_max_model_len: int | None = None
    needed_bytes: int | None = None

    @property
    def block_size(self) -> int:
        """Tokens of the smallest attention block, of full attention where blocks are packed; 0
        without attention."""
        kept = [g for g in self.groups if g.spec.kind != "mamba"]
        if any(len({spec.page_bytes for _, spec in g.layers}) > 1 for g in kept):
            kept = [g for g in kept if g.spec.is_full] or kept
        return min((g.spec.block_size for g in kept), default=0)


def align(
    specs: Sequence[LayerSpec],
    rules: Rules,
    *,
    states_per_block: bool = False,
    export_step: int = 1,
) -> list[LayerSpec]:
    """Layers of a model that mixes attention with recurrent states, their pages made equal.

    Attention blocks grow, in steps of the kernel's block or the block size, until a page holds
    the largest state; a state's page is padded to that. states_per_block: prefix caching keeps
    states at block ends, so their block is attention's and not the whole sequence, and a multiple
    of export_step.
    """
    states = [spec.state_bytes for spec in specs if spec.kind == "mamba"]
    attention = [spec for spec in specs if spec.kind != "mamba"]
    if not states or not attention:
        return list(specs)
    size = attention[0].block_size
    step = KERNEL_BLOCK
    if any(spec.kind == "mla" for spec in attention):
        step = next((n for since, n in LATENT_KERNEL_BLOCKS.items() if rules.since(since)), step)
    if rules.aligns_to_block_size:
        step = max(step, size)
    if states_per_block:
        step = math.lcm(step, export_step)
    per_token = max(spec.token_bytes for spec in attention)
    size = max(size, step * ceil_div(max(states), step * per_token))
    page = size * per_token
    found = []
    for spec in specs:
        if spec.kind != "mamba":
            found.append(replace(spec, block_size=size))
        elif states_per_block:
            found.append(replace(spec, page_padded=page, block_size=size))
        else:
            found.append(replace(spec, page_padded=page))
    return found


def make_pool(
    specs: Sequence[LayerSpec],
    available_bytes: Sequence[int],
    rules: Rules,
    *,
    max_model_len: int,
    max_num_batched_tokens: int,
    decode_context_parallel_size: int = 1,
    hybrid: bool = True,
    stages: Sequence[range] | None = None,
    num_gpu_blocks_override: int | None = None,
    overlap: Overlap = "all",
    retained_tokens: int = 0,
) -> Pool:
    """The pool of a model with these layers (in order, as one rank holds them).

    available_bytes: budget of a rank of every pipeline stage. stages: which layers each holds;
    by default as vLLM deals them.
    """
    count = len(available_bytes)
    if stages is None:
        stages = stage_spans(len(specs), count)
    lengths = Lengths(
        max_model_len,
        in_flight_tokens(rules, max_num_batched_tokens, count, overlap) + retained_tokens,
        decode_context_parallel_size,
    )
    refused = None
    if not rules.check_counts_groups:
        refused = first_refusal(
            [ungrouped(specs, s) for s in stages], available_bytes, lengths, rules
        )
    if refused is not None:
        return _refused(refused)
    try:
        grouping = group_layers(specs, rules, hybrid=hybrid)
    except CannotGroup as why:
        return Pool(refused=str(why))
    if not grouping.groups:
        return Pool(refused=NOTHING_LEFT) if min(available_bytes) <= 0 else Pool(num_blocks=1)
    workers = [grouping.on(stage) for stage in stages]
    costs = [grouping.block_bytes(groups, rules) for groups in workers]
    if not all(costs):
        return Pool(refused=CACHELESS_STAGE)
    budgets = list(available_bytes)
    if num_gpu_blocks_override is not None:
        budgets = [num_gpu_blocks_override * cost for cost in costs]
    if rules.check_counts_groups:
        checked = budgets if rules.check_follows_override else available_bytes
        whole = not rules.check_is_of_one_stage
        refused = first_refusal(
            [grouping.groups] if whole else workers, [min(checked)] if whole else checked,
            lengths, rules,
        )  # fmt: skip
    if refused is not None:
        return _refused(refused)
    blocks = min(budget // cost for budget, cost in zip(budgets, costs, strict=True))
    return _report(grouping, workers, costs[0], blocks, lengths, rules)


def _refused(why: Refusal) -> Pool:
    return Pool(
        refused=why.sentence,
        estimated_max_model_len=why.estimated_max_model_len,
        needed_bytes=why.needed_bytes,
    )


def _report(
    grouping: Grouping,
    workers: Sequence[tuple[Group, ...]],
    cost: int,
    blocks: int,
    lengths: Lengths,
    rules: Rules,
) -> Pool:
    """What is printed about so many blocks.

    Tokens: concurrency x max_model_len from 0.20, blocks shared out evenly over the groups before.
    """
    per_request = lengths.blocks(grouping.groups)
    concurrency = blocks / per_request
    smallest = min(group.spec.block_size for group in grouping.groups)
    tokens = blocks // len(grouping.groups) * smallest * lengths.context_split
    if rules.tokens_from_concurrency:
        tokens = int(concurrency * lengths.max_model_len)
    elif not rules.hybrid_groups:
        concurrency = tokens / lengths.max_model_len
    return Pool(
        num_blocks=blocks,
        kv_cache_tokens=tokens,
        max_concurrency=concurrency,
        blocks_per_request=per_request,
        groups=workers[0],
        bytes_per_block=cost,
        padding=grouping.padding,
    )
