"""The three things a layer is made of: weights, cache that grows with tokens, fixed state.

A layer kind answers "which tensors?"; counting, quantising and sharding them is done once,
elsewhere, for all kinds alike.
"""

from dataclasses import dataclass
from typing import Literal

from planner.units import ceil_div

Role = Literal["linear", "expert", "router", "embedding", "norm", "bias", "conv", "vector"]
"""What a weight is for. Quantisation formats touch `linear` and `expert` only."""

Split = Literal["replicated", "column", "row", "kv", "vocab"]
"""How tensor parallelism cuts a weight: not at all, along its first axis (outputs), along its
last axis (inputs), along its first axis by KV head (replicated once ranks outnumber heads), or
along a vocabulary padded to a multiple of 64."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One stored tensor, or `copies` equal ones (experts), of which `active` work on a token.

    shape is as stored: (out_features, in_features) for a matrix, (n,) for a vector.
    kv_heads is set for split == "kv": the heads that the first axis holds.
    """

    name: str
    shape: tuple[int, ...]
    role: Role = "linear"
    split: Split = "replicated"
    copies: int = 1
    active: int | None = None
    kv_heads: int = 0

    @property
    def parameters_each(self) -> int:
        n = 1
        for size in self.shape:
            n *= size
        return n

    @property
    def parameters(self) -> int:
        return self.parameters_each * self.copies

    @property
    def active_parameters(self) -> int:
        return self.parameters_each * (self.copies if self.active is None else self.active)


@dataclass(frozen=True, slots=True)
class CacheTensor:
    """Cache of one layer that grows with the sequence: `heads` x `width` elements per entry.

    One entry is kept per `stride` tokens (stride > 1: compressed attention), for the last
    `window` tokens only when a window is set. `lag` entries are never kept (a window that holds
    window - 1 past tokens). fp32_width of the elements stay float32 in any cache. Tensor
    parallelism splits heads and never an entry.
    """

    name: str
    heads: int
    width: int
    window: int | None = None
    stride: int = 1
    lag: int = 0
    fp32_width: int = 0

    def entries(self, tokens: int) -> int:
        """Entries held for a sequence of `tokens` tokens."""
        held = tokens if self.window is None else min(tokens, self.window - self.lag)
        return held // self.stride


@dataclass(frozen=True, slots=True)
class StateTensor:
    """Recurrent state of one layer and one sequence: a fixed shape, whatever the length.

    dtype "model" follows the model's own dtype, "float32" does not. heads is how many ways
    tensor parallelism can split it; one head is whole on every rank.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["model", "float32"] = "model"
    heads: int = 1

    @property
    def elements(self) -> int:
        n = 1
        for size in self.shape:
            n *= size
        return n

    @property
    def is_convolution(self) -> bool:
        """Past inputs of a convolution: channels x columns."""
        return self.name.startswith("conv")

    def on_rank(self, tensor_parallel_size: int) -> int:
        """Elements of one rank."""
        share = ceil_div(self.heads, min(tensor_parallel_size, self.heads))
        return ceil_div(self.elements * share, self.heads)

    def on_rank_with(self, columns: int, tensor_parallel_size: int) -> int:
        """Elements of one rank where an engine keeps so many columns of a convolution."""
        return self.on_rank(tensor_parallel_size) // self.shape[-1] * columns


def linear(
    name: str,
    out_features: int,
    in_features: int,
    split: Split = "replicated",
    *,
    bias: bool = False,
    kv_heads: int = 0,
    copies: int = 1,
    active: int | None = None,
    role: Role = "linear",
) -> tuple[Weight, ...]:
    """A projection and, if it has one, its bias: split with the outputs, else whole."""
    weight = Weight(name, (out_features, in_features), role, split, copies, active, kv_heads)
    if not bias:
        return (weight,)
    bias_split: Split = "replicated" if split == "row" else split
    return (
        weight,
        Weight(f"{name}.bias", (out_features,), "bias", bias_split, copies, active, kv_heads),
    )


def norm(name: str, width: int, *, bias: bool = False) -> tuple[Weight, ...]:
    """A normalisation's scale, and its shift if it has one."""
    scale = Weight(f"{name}", (width,), "norm")
    return (scale, Weight(f"{name}.bias", (width,), "norm")) if bias else (scale,)
