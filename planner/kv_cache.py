"""Bytes that a sequence keeps: cache that grows with its length, and fixed recurrent state."""

from collections.abc import Iterable
from dataclasses import dataclass

from planner.formats.dtypes import DTYPE_BYTES, Kind, KvFormat
from planner.model import LayerGroup, Model
from planner.tensors import CacheTensor, StateTensor
from planner.units import ceil_div

KINDS: dict[str, Kind] = {
    "keys": "key", "values": "value", "indexer_keys": "indexer",
    "compressed_kv.overlap": "overlap", "indexer_keys.overlap": "overlap",
}  # fmt: skip
FP32 = 4


@dataclass(frozen=True, slots=True)
class CacheTerm:
    """All cache tensors of a rank that grow by the same rule, as bytes per entry.

    An entry stands for `stride` tokens; only the last window - lag tokens are held. Of a sequence
    a rank holds one part in `token_split` (context parallelism).
    """

    bytes_per_entry: int
    window: int | None
    stride: int
    lag: int
    token_split: int = 1

    def held_tokens(self, tokens: int) -> int:
        """Tokens of a sequence of `tokens` that this rank holds."""
        mine = tokens if self.token_split == 1 else ceil_div(tokens, self.token_split)
        return mine if self.window is None else min(mine, self.window - self.lag)

    def bytes(self, tokens: int) -> int:
        """Bytes for a sequence of `tokens`."""
        return self.bytes_per_entry * (self.held_tokens(tokens) // self.stride)

    def paged_bytes(self, tokens: int, block_size: int) -> int:
        """Bytes when held tokens are rounded up to whole blocks."""
        blocks = ceil_div(self.held_tokens(tokens), block_size)
        return self.bytes_per_entry * (blocks * block_size // self.stride)

    def shared_bytes(self, tokens: int, prefix: int) -> int:
        """Bytes of the part of the first `prefix` tokens that is still held at `tokens`."""
        mine = tokens if self.token_split == 1 else ceil_div(tokens, self.token_split)
        mine_of_prefix = prefix if self.token_split == 1 else prefix // self.token_split
        dropped = mine - self.held_tokens(tokens)
        return self.bytes_per_entry * (max(0, mine_of_prefix - dropped) // self.stride)


def cache_terms(
    groups: Iterable[tuple[LayerGroup, int]],
    kv_format: KvFormat,
    *,
    tensor_parallel_size: int = 1,
    token_split: int = 1,
) -> tuple[CacheTerm, ...]:
    """Growth rules of a rank that holds `count` layers of each (group, count), merged.

    A rank keeps max(1, heads // tensor_parallel_size) heads: past the number of KV heads they are
    replicated, and a latent (one head) always is.
    """
    merged: dict[tuple[int | None, int, int], int] = {}
    for group, count in groups:
        for tensor in group.cache():
            size = count * entry_bytes(tensor, kv_format, tensor_parallel_size)
            rule = (tensor.window, tensor.stride, tensor.lag)
            merged[rule] = merged.get(rule, 0) + size
    return tuple(
        CacheTerm(size, window, stride, lag, token_split)
        for (window, stride, lag), size in merged.items()
        if size
    )


def entry_bytes(tensor: CacheTensor, kv_format: KvFormat, tensor_parallel_size: int = 1) -> int:
    """Bytes of one entry of one layer's tensor on one rank, scales included."""
    heads = max(1, tensor.heads // tensor_parallel_size)
    kind, width = KINDS.get(tensor.name, "latent"), tensor.width - tensor.fp32_width
    return heads * (kv_format.entry_bytes(width, kind) + FP32 * tensor.fp32_width)


def state_bytes(
    groups: Iterable[tuple[LayerGroup, int]],
    dtype: str,
    *,
    tensor_parallel_size: int = 1,
    past_only: bool = False,
) -> int:
    """Recurrent state of one sequence on one rank. past_only: of a convolution the engine keeps
    kernel - 1 columns, not the newest token's."""
    total = 0
    for group, count in groups:
        total += count * sum(
            state_tensor_bytes(tensor, dtype, tensor_parallel_size, past_only=past_only)
            for tensor in group.state()
        )
    return total


def state_tensor_bytes(
    tensor: StateTensor, dtype: str, tensor_parallel_size: int = 1, *, past_only: bool = False
) -> int:
    """Bytes of one layer's state tensor on one rank; float32 states stay float32."""
    size = FP32 if tensor.dtype == "float32" else DTYPE_BYTES[dtype]
    if past_only and tensor.is_convolution:
        return tensor.on_rank_with(tensor.shape[-1] - 1, tensor_parallel_size) * size
    return tensor.on_rank(tensor_parallel_size) * size


def whole(model: Model) -> tuple[tuple[LayerGroup, int], ...]:
    """Every layer of the model, as cache_terms and state_bytes take them."""
    return tuple((group, group.count) for group in model.groups)
