"""Attention over compressed tokens (DeepSeek-V4): a short window, and one entry per some tokens.

Keys and values are one shared vector per entry, stored once. Every layer keeps a window of plain
entries; a compressing layer also keeps one entry per `compress_rate` tokens and the tokens of the
window it has not closed yet.
"""

from typing import Literal

from planner.frozen import Frozen
from planner.tensors import CacheTensor, StateTensor, Weight, linear, norm


class Compressor(Frozen):
    """What a layer keeps of the past: one entry of head_dim per compress_rate tokens.

    overlap: entries are blended with the window before (CSA), which doubles the projections and
    keeps one closed window. index_*: the indexer's own smaller entries, 0 heads where it has none.
    """

    compress_rate: int
    overlap: bool = False
    index_n_heads: int = 0
    index_head_dim: int = 0
    index_topk: int = 0


class CompressedAttention(Frozen):
    """Sliding attention with shared keys and values, and compressed entries beside the window."""

    type: Literal["compressed_attention"] = "compressed_attention"
    num_attention_heads: int
    head_dim: int
    q_lora_rank: int
    o_groups: int
    o_lora_rank: int
    window: int
    compressor: Compressor | None = None

    @property
    def kind(self) -> str:
        if self.compressor is None:
            return "sliding"
        return "csa" if self.compressor.overlap else "hca"

    @property
    def num_key_value_heads(self) -> int:
        return 1

    @property
    def value_dim(self) -> int:
        return self.head_dim

    @property
    def widths(self) -> tuple[tuple[str, int], ...]:
        """Names and widths of the entries that compression makes."""
        if self.compressor is None:
            return ()
        found: tuple[tuple[str, int], ...] = (("compressed_kv", self.head_dim),)
        if self.compressor.index_n_heads:
            found += (("indexer_keys", self.compressor.index_head_dim),)
        return found

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        heads, width = self.num_attention_heads, self.head_dim
        found: tuple[Weight, ...] = (Weight("sinks", (heads,), "vector", "column"),)
        found += linear("q_a_proj", self.q_lora_rank, hidden_size)
        found += norm("q_a_norm", self.q_lora_rank)
        found += linear("q_b_proj", heads * width, self.q_lora_rank, "column")
        found += linear("kv_proj", width, hidden_size) + norm("kv_norm", width)
        group = heads * width // self.o_groups
        found += linear("o_a_proj", self.o_groups * self.o_lora_rank, group, "column")
        found += linear("o_b_proj", hidden_size, self.o_groups * self.o_lora_rank, "row")
        compressor = self.compressor
        if compressor is None:
            return found
        for name, size in self.widths:
            wide = 2 * size if compressor.overlap else size
            found += (Weight(f"{name}.position_bias", (compressor.compress_rate, wide), "vector"),)
            found += linear(f"{name}.kv_proj", wide, hidden_size)
            found += linear(f"{name}.gate_proj", wide, hidden_size)
            found += norm(f"{name}.kv_norm", size)
        if compressor.index_n_heads:
            queries = compressor.index_n_heads * compressor.index_head_dim
            found += linear("indexer.q_b_proj", queries, self.q_lora_rank)
            found += linear("indexer.weights_proj", compressor.index_n_heads, hidden_size)
        return found

    def cache(self) -> tuple[CacheTensor, ...]:
        """The window holds window - 1 past tokens. Overlap keeps values and gates of one window,
        the gates in float32, in which biases were added to them."""
        shared = CacheTensor("shared_kv", 1, self.head_dim, self.window, lag=1)
        found: tuple[CacheTensor, ...] = (shared,)
        compressor = self.compressor
        if compressor is None:
            return found
        rate = compressor.compress_rate
        for name, width in self.widths:
            found += (CacheTensor(name, 1, width, stride=rate),)
            if compressor.overlap:
                kept = CacheTensor(f"{name}.overlap", 1, 2 * width, rate, fp32_width=width)
                found += (kept,)
        return found

    def state(self) -> tuple[StateTensor, ...]:
        """Values and gates of the tokens that do not fill a window yet, at their most."""
        if self.compressor is None:
            return ()
        rate = self.compressor.compress_rate
        wide = 2 if self.compressor.overlap else 1
        return tuple(
            StateTensor(f"{name}.buffer", (2, rate - 1, wide * width))
            for name, width in self.widths
        )
