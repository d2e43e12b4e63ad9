"""The paged pool of one kind of cache: its tensors, block tables and lengths, as planned.

Layers that keep every token and layers that keep a window have pools of their own, each with the
tokens that the plan says it holds. Pages are dealt in random order, as they are after a while.
"""

from dataclasses import dataclass

import torch

from planner.errors import PlanRefused
from planner.kinds.attention import Attention, LatentAttention
from planner.units import ceil_div
from validate.bench import DTYPES, Bench, fill_random


@dataclass
class Pool:
    """keys, values [layers, blocks, block_size, kv_heads, dim]; a latent has no values.

    slots are where the tokens of the next pass are stored.
    """

    keys: torch.Tensor
    values: torch.Tensor | None
    table: torch.Tensor
    lengths: torch.Tensor
    slots: torch.Tensor
    block_size: int

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + (0 if self.values is None else self.values.nbytes)


def cache_dtype(name: str) -> torch.dtype:
    """The element type of a cache format that the kernels here read. Raises PlanRefused."""
    if name not in DTYPES:
        raise PlanRefused(f"no kernel here reads a KV cache of {name}: choose bf16, fp16 or fp8")
    return DTYPES[name]


def blocks_of(window: int | None, context: int, block_size: int) -> int:
    """Blocks one sequence holds at `context` tokens."""
    return ceil_div(context if window is None else min(context, window), block_size)


def make_pool(
    bench: Bench, mixer: Attention | LatentAttention, layers: int, sequences: int, context: int,
    block_size: int, cache_format: str, *, fill: bool = True, extra_blocks: int = 0,
) -> Pool:  # fmt: skip
    """A full pool for `sequences` of `context` tokens each."""
    own = blocks_of(mixer.window, context, block_size)
    blocks = sequences * own + extra_blocks
    dtype = cache_dtype(cache_format)
    if isinstance(mixer, LatentAttention):
        shapes = [(1, mixer.kv_lora_rank + mixer.qk_rope_head_dim)]
    else:
        heads = mixer.num_key_value_heads
        shapes = [(heads, mixer.head_dim), (heads, mixer.value_dim)]
    tensors = [bench.empty(layers, blocks, block_size, *shape, dtype=dtype) for shape in shapes]
    if fill:
        for tensor in tensors:
            fill_random(tensor)
    table = block_table(bench, sequences, own, ceil_div(context, block_size))
    lengths = torch.full((sequences,), context, dtype=torch.int32, device=bench.device)
    values = tensors[1] if len(tensors) > 1 else None
    return Pool(tensors[0], values, table, lengths, lengths.long(), block_size)


def block_table(bench: Bench, sequences: int, own: int, columns: int) -> torch.Tensor:
    """int32 [sequences, columns]; a window's blocks are used in turn, so columns repeat them."""
    dealt = torch.randperm(sequences * own, device=bench.device, dtype=torch.int32)
    column = torch.arange(columns, device=bench.device) % own
    return dealt.view(sequences, own)[:, column].contiguous()


def newest_slots(pool: Pool, position: int) -> torch.Tensor:
    """Slots of the token at `position` of every sequence, int64 [sequences]."""
    block = pool.table[:, position // pool.block_size].long()
    return block * pool.block_size + position % pool.block_size


def prompt_slots(pool: Pool, tokens: int, window: int | None) -> torch.Tensor:
    """Slots of the first `tokens` tokens of sequence 0; -1 for those a window has left behind."""
    position = torch.arange(tokens, device=pool.table.device)
    block = pool.table[0, position // pool.block_size].long()
    slots = block * pool.block_size + position % pool.block_size
    if window is not None:
        slots[position < tokens - window] = -1
    return slots
