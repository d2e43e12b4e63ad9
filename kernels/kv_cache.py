"""A paged KV cache that runs: blocks, block tables, prefix sharing, copy-on-write and the store.

cache = PagedKVCache(num_blocks=64, block_size=16, kv_heads=8, head_dim=128)
cache.add("a")
slots = cache.append("a", 100)
cache.store(0, key, value, slots)
out = paged_decode_attention(q, *cache.layer(0), *cache.batch(["a"]))
"""

import hashlib
from array import array
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch

from kernels.block_allocator import BlockAllocator, BlockUsage
from kernels.decode_checks import QUANTISED, check_block_size
from kernels.kv_store import store_kv


@dataclass
class _Sequence:
    blocks: list[int] = field(default_factory=list)
    length: int = 0
    prefix: bytes | None = b""  # content key of the last full block; None once tokens are unknown
    tail: list[int] = field(default_factory=list)  # token ids in the last, partly filled block


def _content_key(prefix: bytes, tokens: Sequence[int]) -> bytes:
    return hashlib.blake2b(prefix + array("q", tokens).tobytes(), digest_size=16).digest()


def _of_layer(scale: float | torch.Tensor | None, layer: int) -> float | torch.Tensor | None:
    """One number or element serves every layer; scales per token and head are by layer."""
    if isinstance(scale, torch.Tensor) and scale.dim() > 1:
        return scale[layer]
    return scale


class PagedKVCache:
    """Blocks of `block_size` tokens for every layer at once.

    k_cache: [num_layers, num_blocks, block_size, kv_heads, head_dim]; v_cache the same with
    head_dim_v, or None where head_dim_v is 0 (an MLA latent cache holds its values in its keys).
    Both are views of `pages`, in which a block's values lie behind its keys: decode finds them in
    one place (as in FlashInfer's cache of [num_blocks, 2, ...]).
    dtype: a float dtype, or fp8 e4m3 or int8. Those are scaled by `k_scale` and `v_scale` (numbers
    or one-element float32 tensors), or with `scales_per_token_head` by float32 tensors
    [num_layers, num_blocks, block_size, kv_heads] that `store` fills in.
    """

    def __init__(
        self,
        *,
        num_blocks: int,
        block_size: int,
        kv_heads: int,
        head_dim: int,
        head_dim_v: int | None = None,
        num_layers: int = 1,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cuda",
        k_scale: float | torch.Tensor | None = None,
        v_scale: float | torch.Tensor | None = None,
        scales_per_token_head: bool = False,
    ) -> None:
        check_block_size(block_size)
        head_dim_v = head_dim if head_dim_v is None else head_dim_v
        if num_layers < 1 or kv_heads < 1 or head_dim < 1 or head_dim_v < 0:
            raise ValueError("num_layers, kv_heads and head_dim must be at least 1")
        if scales_per_token_head and dtype not in QUANTISED:
            raise ValueError(f"scales_per_token_head is for fp8 and int8 caches, not {dtype}")
        self.block_size = block_size
        self._allocator = BlockAllocator(num_blocks)
        self._sequences: dict[Hashable, _Sequence] = {}
        places = (num_layers, num_blocks, block_size, kv_heads)
        rows = block_size * kv_heads
        self.pages = torch.zeros(
            (num_layers, num_blocks, rows * (head_dim + head_dim_v)), dtype=dtype, device=device
        )
        keys, values = self.pages.split([rows * head_dim, rows * head_dim_v], dim=-1)
        self.k_cache = keys.view(*places, head_dim)
        self.v_cache = values.view(*places, head_dim_v) if head_dim_v else None
        self.k_scale, self.v_scale = k_scale, v_scale
        if scales_per_token_head:
            self.k_scale = torch.ones(places, device=device)
            self.v_scale = torch.ones(places, device=device) if head_dim_v else None

    def _tensors(self) -> list[torch.Tensor]:
        """Everything that holds one entry per block, in dimension 1."""
        held = (self.pages, self.k_scale, self.v_scale)
        return [t for t in held if isinstance(t, torch.Tensor) and t.dim() > 1]

    @property
    def block_bytes(self) -> int:
        """Bytes of one block over all layers, scales per token and head included."""
        return sum(t.nbytes for t in self._tensors()) // self._allocator.num_blocks

    def usage(self) -> BlockUsage:
        return self._allocator.usage()

    def length(self, sequence: Hashable) -> int:
        return self._get(sequence).length

    def _get(self, sequence: Hashable) -> _Sequence:
        if sequence not in self._sequences:
            raise KeyError(f"no sequence {sequence!r} in the cache; add it first")
        return self._sequences[sequence]

    def _new(self, sequence: Hashable) -> None:
        if sequence in self._sequences:
            raise ValueError(f"sequence {sequence!r} is already in the cache; free it first")

    def add(self, sequence: Hashable, tokens: Sequence[int] = ()) -> int:
        """Start a sequence; returns how many of its first `tokens` are in the cache already.

        Whole blocks only, and at least one token is left to compute. Follow with
        `append(sequence, tokens[found:])`. What is shared must have been stored by then.
        """
        self._new(sequence)
        new = _Sequence()
        for start in range(0, len(tokens) - self.block_size, self.block_size):
            assert new.prefix is not None
            key = _content_key(new.prefix, tokens[start : start + self.block_size])
            block = self._allocator.find(key)
            if block is None:
                break
            new.blocks.append(block)
            new.prefix = key
        self._allocator.share(new.blocks)
        new.length = len(new.blocks) * self.block_size
        self._sequences[sequence] = new
        return new.length

    def append(self, sequence: Hashable, tokens: int | Sequence[int]) -> torch.Tensor:
        """Make room for new tokens; returns their slots, int64 on the cache's device.

        `tokens` is their ids, or just their count if this sequence need not be found by its
        content. A last block shared with a fork is copied first. Raises OutOfBlocksError, having
        changed nothing, if there are too few free blocks.
        """
        state = self._get(sequence)
        count = tokens if isinstance(tokens, int) else len(tokens)
        if count < 0:
            raise ValueError(f"cannot append {count} tokens")
        filled = state.length % self.block_size
        needed = -(-(state.length + count) // self.block_size) - len(state.blocks)
        copy = bool(count and filled and self._allocator.owners(state.blocks[-1]) > 1)
        fresh = self._allocator.allocate(needed + copy)
        if copy:
            old, new = state.blocks[-1], fresh.pop(0)
            for tensor in self._tensors():
                tensor[:, new] = tensor[:, old]
            self._allocator.release([old])
            state.blocks[-1] = new
        state.blocks += fresh
        position = torch.arange(state.length, state.length + count)
        blocks = torch.tensor(state.blocks, dtype=torch.int64)
        slots = position % self.block_size
        slots += blocks[position // self.block_size] * self.block_size
        state.length += count
        self._remember(state, None if isinstance(tokens, int) else tokens)
        return slots.to(self.k_cache.device)

    def _remember(self, state: _Sequence, tokens: Sequence[int] | None) -> None:
        """Give each block that these tokens filled its content key."""
        if tokens is None or state.prefix is None:
            state.prefix = None
            return
        known = [*state.tail, *tokens]
        whole = len(known) // self.block_size
        filled = state.blocks[state.length // self.block_size - whole :]
        for index in range(whole):
            start = index * self.block_size
            state.prefix = _content_key(state.prefix, known[start : start + self.block_size])
            self._allocator.remember(filled[index], state.prefix)
        state.tail = known[whole * self.block_size :]

    def fork(self, sequence: Hashable, child: Hashable) -> None:
        """A second sequence with the same tokens and the same blocks, until either grows."""
        parent = self._get(sequence)
        self._new(child)
        self._allocator.share(parent.blocks)
        self._sequences[child] = _Sequence(
            list(parent.blocks), parent.length, parent.prefix, list(parent.tail)
        )

    def free(self, sequence: Hashable) -> None:
        """Give up a sequence; blocks of a known prefix stay findable while space allows."""
        self._allocator.release(self._get(sequence).blocks)
        del self._sequences[sequence]

    def store(
        self, layer: int, key: torch.Tensor, value: torch.Tensor | None, slots: torch.Tensor
    ) -> None:
        """Write key [tokens, kv_heads, head_dim] and value [.., head_dim_v] into `slots`."""
        if (value is None) != (self.v_cache is None):
            raise ValueError("value must be given where the cache holds values, and only there")
        store_kv(key, self.k_cache[layer], slots, scale=_of_layer(self.k_scale, layer))
        if value is not None and self.v_cache is not None:
            store_kv(value, self.v_cache[layer], slots, scale=_of_layer(self.v_scale, layer))

    def layer(self, layer: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(k_cache, v_cache) of one layer, as the decode kernels take them."""
        return self.k_cache[layer], None if self.v_cache is None else self.v_cache[layer]

    def layer_scales(self, layer: int) -> dict[str, float | torch.Tensor | None]:
        """k_scale and v_scale of one layer, as the decode kernels take them."""
        return {
            "k_scale": _of_layer(self.k_scale, layer),
            "v_scale": _of_layer(self.v_scale, layer),
        }

    def batch(
        self, sequences: Sequence[Hashable], max_blocks: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(block_table int32 [batch, max_blocks] padded with -1, cache_seqlens int32 [batch])."""
        states = [self._get(sequence) for sequence in sequences]
        longest = max((len(state.blocks) for state in states), default=0)
        width = longest if max_blocks is None else max_blocks
        if longest > width:
            raise ValueError(f"a sequence has {longest} blocks; max_blocks is {width}")
        rows = [state.blocks + [-1] * (width - len(state.blocks)) for state in states]
        table = torch.tensor(rows, dtype=torch.int32).reshape(len(states), width)
        lengths = torch.tensor([state.length for state in states], dtype=torch.int32)
        device = self.k_cache.device
        return table.to(device), lengths.to(device)
