"""Layers that carry a fixed state instead of a growing cache: state-space and linear attention.

Shapes and dtypes of the states are those of the reference implementations: convolution state
in the model's dtype with conv_kernel columns, recurrent state in float32. `heads` of a state is
how many ways tensor parallelism may split it.
"""

from typing import Literal

from planner.frozen import Frozen
from planner.tensors import CacheTensor, StateTensor, Weight, linear, norm


class Recurrent(Frozen):
    """A mixer without a token-wise cache."""

    def cache(self) -> tuple[CacheTensor, ...]:
        return ()


class GatedDeltaNet(Recurrent):
    """Gated delta rule linear attention (Qwen3-Next and later)."""

    type: Literal["gated_deltanet"] = "gated_deltanet"
    num_key_heads: int
    num_value_heads: int
    head_k_dim: int
    head_v_dim: int
    conv_kernel: int
    extras: tuple[Weight, ...] = ()

    @property
    def kind(self) -> str:
        return "gated_deltanet"

    @property
    def conv_channels(self) -> int:
        keys = self.num_key_heads * self.head_k_dim
        return 2 * keys + self.num_value_heads * self.head_v_dim

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        values = self.num_value_heads * self.head_v_dim
        return (
            *linear("in_proj_qkvz", self.conv_channels + values, hidden_size, "column"),
            *linear("in_proj_ba", 2 * self.num_value_heads, hidden_size, "column"),
            Weight("conv1d", (self.conv_channels, self.conv_kernel), "conv", "column"),
            Weight("dt_bias", (self.num_value_heads,), "vector", "column"),
            Weight("A_log", (self.num_value_heads,), "vector", "column"),
            *norm("norm", self.head_v_dim),
            *linear("out_proj", hidden_size, values, "row"),
            *self.extras,
        )

    def state(self) -> tuple[StateTensor, ...]:
        heads = self.num_value_heads
        recurrent = (heads, self.head_k_dim, self.head_v_dim)
        return (
            StateTensor("conv", (self.conv_channels, self.conv_kernel), heads=self.num_key_heads),
            StateTensor("recurrent", recurrent, "float32", heads=heads),
        )


class Mamba1(Recurrent):
    """Selective state space (Mamba). inner_norms: dt, B and C are normalised (Jamba)."""

    type: Literal["mamba1"] = "mamba1"
    intermediate_size: int
    state_size: int
    conv_kernel: int
    time_step_rank: int
    conv_bias: bool = True
    proj_bias: bool = False
    inner_norms: bool = False
    extras: tuple[Weight, ...] = ()

    @property
    def kind(self) -> str:
        return "mamba1"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        inner, rank, states = self.intermediate_size, self.time_step_rank, self.state_size
        found = linear("in_proj", 2 * inner, hidden_size, "column", bias=self.proj_bias)
        found += (Weight("conv1d", (inner, self.conv_kernel), "conv", "column"),)
        if self.conv_bias:
            found += (Weight("conv1d.bias", (inner,), "bias", "column"),)
        found += linear("x_proj", rank + 2 * states, inner, "row")
        found += linear("dt_proj", inner, rank, "column", bias=True)
        found += (
            Weight("A_log", (inner, states), "vector", "column"),
            Weight("D", (inner,), "vector", "column"),
        )
        found += linear("out_proj", hidden_size, inner, "row", bias=self.proj_bias)
        if self.inner_norms:
            found += norm("dt_layernorm", rank)
            found += norm("b_layernorm", states) + norm("c_layernorm", states)
        return found + self.extras

    def state(self) -> tuple[StateTensor, ...]:
        inner = self.intermediate_size
        return (
            StateTensor("conv", (inner, self.conv_kernel), heads=inner),
            StateTensor("recurrent", (inner, self.state_size), "float32", heads=inner),
        )


class Mamba2(Recurrent):
    """State space duality (Mamba-2): heads of head_dim share a scalar decay."""

    type: Literal["mamba2"] = "mamba2"
    num_heads: int
    head_dim: int
    state_size: int
    n_groups: int
    conv_kernel: int
    conv_bias: bool = True
    proj_bias: bool = False
    gated_norm: bool = True
    extras: tuple[Weight, ...] = ()

    @property
    def kind(self) -> str:
        return "mamba2"

    @property
    def intermediate_size(self) -> int:
        return self.num_heads * self.head_dim

    @property
    def conv_channels(self) -> int:
        return self.intermediate_size + 2 * self.n_groups * self.state_size

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        inner, heads = self.intermediate_size, self.num_heads
        projected = inner + self.conv_channels + heads
        found = linear("in_proj", projected, hidden_size, "column", bias=self.proj_bias)
        found += (Weight("conv1d", (self.conv_channels, self.conv_kernel), "conv", "column"),)
        if self.conv_bias:
            found += (Weight("conv1d.bias", (self.conv_channels,), "bias", "column"),)
        found += tuple(Weight(n, (heads,), "vector", "column") for n in ("dt_bias", "A_log", "D"))
        if self.gated_norm:
            found += (Weight("norm", (inner,), "norm", "column"),)
        found += linear("out_proj", hidden_size, inner, "row", bias=self.proj_bias)
        return found + self.extras

    def state(self) -> tuple[StateTensor, ...]:
        recurrent = (self.num_heads, self.head_dim, self.state_size)
        groups = (2 * self.n_groups * self.state_size, self.conv_kernel)
        return (
            StateTensor("conv", (self.intermediate_size, self.conv_kernel), heads=self.num_heads),
            StateTensor("conv_groups", groups, heads=self.n_groups),
            StateTensor("recurrent", recurrent, "float32", heads=self.num_heads),
        )
