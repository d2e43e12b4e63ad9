"""What one replica is to its scheduler: a pool of blocks, the limits of a batch, a clock.

replica = replica_of(model, gpu, deployment, speed)
replica.num_blocks, replica.fits(prompt_tokens=8192, output_tokens=1024)
"""

from dataclasses import dataclass, replace
from typing import Literal

from planner.capacity import largest
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.footprint import footprint
from planner.hardware import Gpu
from planner.memory import stage_bytes
from planner.model import Model
from planner.run_dtype import as_run
from planner.serving.clock import Clock, step_clock
from planner.serving.drafted_steps import Drafting
from planner.timing.speed import Speed
from planner.units import ceil_div, format_bytes, round_up
from planner.workload import Size

Reserve = Literal["paged", "longest", "power_of_two", "exact"]
Batching = Literal["continuous", "static"]
BYTES_ALONE = "bytes alone"
"""Whose memory it is where no engine was asked: all that weights and buffers leave."""
DEFAULT_SEQUENCES = 256
MAX_BLOCKS = 2**40
"""block_size of models with states alone: a block for each request, whatever its length."""


@dataclass(frozen=True)
class Replica:
    """One engine behind the router.

    block_size: tokens of a block; fixed_blocks: what a request takes besides, for windows and
    states that stop growing. reserve: blocks on demand, or contiguous room for max_model_len, the
    next power of two, or the request's exact length, taken when it starts. lookahead: slots for
    draft tokens that each request is given beyond its own. draft_tokens: those checked in a step,
    which yields tokens_per_step on average; drafting: how, in words. memory: the engine whose pool
    it is, kept_blocks: those it counts but gives to nobody, kv_cache_bytes: what it says of the
    pool.
    """

    num_blocks: int
    block_size: int
    block_bytes: int
    clock: Clock
    max_num_seqs: int = DEFAULT_SEQUENCES
    max_num_batched_tokens: int = 8192
    max_model_len: int = 2**27
    fixed_blocks: int = 0
    prefix_caching: bool = True
    lookahead: int = 0
    draft_tokens: int = 0
    tokens_per_step: float = 1.0
    drafting: str = ""
    reserve: Reserve = "paged"
    batching: Batching = "continuous"
    memory: str = BYTES_ALONE
    kept_blocks: int = 0
    kv_cache_bytes: int = 0

    def __post_init__(self) -> None:
        if self.num_blocks < 1:
            raise PlanRefused("the pool has no blocks: weights and buffers fill the memory")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise PlanRefused(
                f"max_num_batched_tokens {self.max_num_batched_tokens} is below max_num_seqs "
                f"{self.max_num_seqs}: a step could not advance every sequence"
            )

    def blocks(self, tokens: int) -> int:
        """Blocks of a running request with so many tokens in its cache."""
        return self.fixed_blocks - (-(tokens + self.lookahead) // self.block_size)

    def reserved_tokens(self, tokens: int) -> int:
        """Contiguous room for a request of so many tokens in all."""
        if self.reserve == "longest":
            return self.max_model_len
        if self.reserve == "power_of_two":
            return int(min(self.max_model_len, 1 << (tokens - 1).bit_length()))
        return tokens

    def most_blocks(self, tokens: int) -> int:
        """Blocks of a request at its end, `tokens` with its answer, whose last is not stored."""
        if self.reserve == "paged":
            return self.blocks(tokens - 1)
        return self.fixed_blocks + ceil_div(
            self.reserved_tokens(tokens) + self.lookahead, self.block_size
        )

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """Whether such a request can ever be served."""
        tokens = prompt_tokens + output_tokens
        most = self.most_blocks(tokens + self.draft_tokens)
        return tokens <= self.max_model_len and most <= self.num_blocks

    def changed(self, **changes: object) -> "Replica":
        """This replica with some fields changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


def replica_of(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    speed: Speed,
    *,
    max_num_seqs: int | None = None,
    max_model_len: int | None = None,
    kv_cache_bytes: int | None = None,
    prefix_caching: bool = True,
    lookahead: int = 0,
    drafting: Drafting | None = None,
) -> Replica:
    """A replica of the deployment, its memory and times those of the plan.

    The pool is what weights, run time and the buffers of the fullest batch leave on the GPU that
    binds; max_num_seqs defaults to DEFAULT_SEQUENCES or what memory holds at one block each.
    kv_cache_bytes: an engine's own figure instead. drafting: how tokens are drafted, with the slots
    that it takes. Raises PlanRefused where nothing is left.
    """
    model = as_run(model, deployment.weights_dtype)
    compiled = footprint(model, gpu, deployment)
    longest = max_model_len or model.max_position_embeddings
    if longest is None:
        raise PlanRefused("max_position_embeddings is not in the configuration: give a length")
    tokens = deployment.block_size * deployment.decode_context_parallel_size
    dp = deployment.data_parallel_size

    def buffers(sequences: int) -> int:
        """What is not cache in a batch of so many, on the stage with the most."""
        size = Size(longest, sequences * dp, 0, 1, 0)
        return max(
            stage_bytes(compiled, s, size)
            - sequences * s.sequence_bytes(longest, deployment.block_size)
            for s in compiled.stages
        )

    sequences = max_num_seqs or min(DEFAULT_SEQUENCES, deployment.max_num_batched_tokens)
    found = []
    end = round_up(longest, tokens) + tokens
    for stage in compiled.stages:
        left = kv_cache_bytes
        if left is None:
            left = gpu.memory_bytes - buffers(sequences)
            if left <= 0 and max_num_seqs is None:
                sequences = max(1, largest(buffers, gpu.memory_bytes, sequences, 1))
                left = gpu.memory_bytes - buffers(sequences)
        whole = stage.sequence_bytes(end, deployment.block_size)
        grown = whole - stage.sequence_bytes(end - tokens, deployment.block_size)
        fixed = whole - grown * (end // tokens)
        block = grown or max(1, fixed)
        held = ceil_div(max(0, fixed), block)
        found.append((left // block - (kv_cache_bytes is not None), block, held, bool(grown)))
        if left < block:
            raise PlanRefused(
                f"no memory is left for the cache: {format_bytes(-left)} short at max_num_seqs "
                f"{sequences}"
            )
    blocks, block_bytes, held, grows = min(found, key=lambda row: row[0] // (row[2] + 1))
    return Replica(
        num_blocks=blocks,
        block_size=tokens if grows else MAX_BLOCKS,
        block_bytes=block_bytes,
        clock=_clock(model, gpu, deployment, speed, sequences, longest, drafting),
        max_num_seqs=sequences,
        max_num_batched_tokens=deployment.max_num_batched_tokens,
        max_model_len=longest,
        fixed_blocks=held if grows else 0,
        prefix_caching=prefix_caching and grows and not held,
        lookahead=lookahead if drafting is None else drafting.lookahead,
        draft_tokens=0 if drafting is None else drafting.draft_tokens,
        tokens_per_step=1.0 if drafting is None else drafting.tokens_per_step,
        drafting="" if drafting is None else drafting.words,
    )


def _clock(
    model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, sequences: int, longest: int,
    drafting: Drafting | None,
) -> Clock:  # fmt: skip
    if drafting is None:
        return step_clock(model, gpu, deployment, speed, sequences, longest)
    drafts, drafter = drafting.draft_tokens, drafting.drafter
    target = step_clock(model, gpu, deployment, speed, sequences, longest, 1 + drafts)
    if drafter.model is None:
        return drafting.clock(target, None)
    runs, width = drafter.deployment(deployment), drafter.width(drafts)
    draft = step_clock(drafter.model, gpu, runs, speed, sequences, longest, width)
    return drafting.clock(target, draft)
