"""Mixers whose memory is a short convolution: LFM2's, and the gated recurrence of Griffin."""

from typing import Literal

from planner.kinds.recurrent import Recurrent
from planner.tensors import StateTensor, Weight, linear


class ShortConvolution(Recurrent):
    """A gated depthwise convolution over the last conv_kernel tokens (LFM2)."""

    type: Literal["short_convolution"] = "short_convolution"
    hidden_size: int
    conv_kernel: int
    bias: bool = False

    @property
    def kind(self) -> str:
        return "conv"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        found = linear("in_proj", 3 * hidden_size, hidden_size, "column", bias=self.bias)
        found += (Weight("conv", (hidden_size, self.conv_kernel), "conv", "column"),)
        if self.bias:
            found += (Weight("conv.bias", (hidden_size,), "bias", "column"),)
        return found + linear("out_proj", hidden_size, hidden_size, "row", bias=self.bias)

    def state(self) -> tuple[StateTensor, ...]:
        shape = (self.hidden_size, self.conv_kernel)
        return (StateTensor("conv", shape, heads=self.hidden_size),)


class ResidualConvolutions(Recurrent):
    """Depthwise convolutions over the last conv_kernel tokens, added to what they read (Inkling).

    num_key_value_heads of head_dim: keys and values, one convolution each. hidden_size: what a
    mixer and a feed-forward part return, one each. All keep their inputs in float32.
    """

    type: Literal["residual_convolutions"] = "residual_convolutions"
    hidden_size: int
    num_key_value_heads: int
    head_dim: int
    conv_kernel: int

    @property
    def kind(self) -> str:
        return "conv"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        heads = self.num_key_value_heads * self.head_dim
        found = tuple(
            Weight(f"{name}_conv", (heads, self.conv_kernel), "conv", "column")
            for name in ("key", "value")
        )
        return found + tuple(
            Weight(f"{name}_conv", (hidden_size, self.conv_kernel), "conv")
            for name in ("attention", "mlp")
        )

    def state(self) -> tuple[StateTensor, ...]:
        kernel, heads = self.conv_kernel, self.num_key_value_heads
        return (
            StateTensor("conv", (2 * heads * self.head_dim, kernel), "float32", heads=heads),
            StateTensor("conv", (2 * self.hidden_size, kernel), "float32"),
        )


class CompressedConvolution(Recurrent):
    """Projections that two short convolutions over queries and keys follow (ZAYA).

    Half of each value comes from the token before. `kernels` are those of the depthwise and the
    grouped convolution.
    """

    type: Literal["compressed_convolution"] = "compressed_convolution"
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    kernels: tuple[int, int]
    bias: bool = False

    @property
    def kind(self) -> str:
        return "conv"

    @property
    def channels(self) -> int:
        return (self.num_attention_heads + self.num_key_value_heads) * self.head_dim

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        queries = self.num_attention_heads * self.head_dim
        keys, half = self.num_key_value_heads * self.head_dim, self.delayed
        found: tuple[Weight, ...] = ()
        for name, width in (("q", queries), ("k", keys), ("v_current", half), ("v_delayed", half)):
            found += linear(f"{name}_proj", width, hidden_size, "column", bias=self.bias)
        depthwise, grouped = self.kernels
        found += (
            Weight("conv_depthwise", (self.channels, depthwise), "conv", "column"),
            Weight("conv_depthwise.bias", (self.channels,), "bias", "column"),
            Weight("conv_grouped", (self.channels, self.head_dim, grouped), "conv", "column"),
            Weight("conv_grouped.bias", (self.channels,), "bias", "column"),
            Weight("temperature", (self.num_key_value_heads,), "vector", "column"),
        )
        return found + linear("o_proj", hidden_size, queries, "row", bias=self.bias)

    @property
    def delayed(self) -> int:
        return self.num_key_value_heads * self.head_dim // 2

    def state(self) -> tuple[StateTensor, ...]:
        past, heads = sum(self.kernels) - 2, self.num_key_value_heads
        delayed = StateTensor("recurrent", (self.delayed,), heads=heads)
        if not past:
            return (delayed,)
        return (StateTensor("past", (self.channels, past), heads=heads), delayed)


class NgramContext(Recurrent):
    """A dilated depthwise convolution, and the last tokens that n-grams are made of (Qwen4-Exp).

    A token's number takes 8 bytes.
    """

    type: Literal["ngram_context"] = "ngram_context"
    channels: int
    conv_kernel: int
    dilation: int
    tokens: int

    @property
    def kind(self) -> str:
        return "ngrams"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        return (Weight("ple.conv1d", (self.channels, self.conv_kernel), "conv"),)

    def state(self) -> tuple[StateTensor, ...]:
        past = (self.conv_kernel - 1) * self.dilation
        found = (StateTensor("tokens", (self.tokens, 2), "float32"),)
        return (StateTensor("past", (self.channels, past)), *found) if past else found


class RgLru(Recurrent):
    """Real-gated linear recurrent unit behind a convolution (RecurrentGemma, Griffin).

    Gates are block-diagonal, one block per head. The state holds conv_kernel - 1 past inputs.
    """

    type: Literal["rg_lru"] = "rg_lru"
    lru_width: int
    num_heads: int
    conv_kernel: int

    @property
    def kind(self) -> str:
        return "rg_lru"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        width, heads = self.lru_width, self.num_heads
        block = (heads, width // heads, width // heads)
        found = linear("linear_y", width, hidden_size, "column", bias=True)
        found += linear("linear_x", width, hidden_size, "column", bias=True)
        found += (
            Weight("conv_1d", (width, self.conv_kernel), "conv", "column"),
            Weight("conv_1d.bias", (width,), "bias", "column"),
            Weight("recurrent_param", (width,), "vector", "column"),
        )
        for gate in ("input_gate", "recurrent_gate"):
            found += (
                Weight(f"{gate}_weight", block, "vector", "column"),
                Weight(f"{gate}_bias", (width,), "vector", "column"),
            )
        return found + linear("linear_out", hidden_size, width, "row", bias=True)

    def state(self) -> tuple[StateTensor, ...]:
        width = self.lru_width
        return (
            StateTensor("conv", (width, self.conv_kernel - 1), heads=self.num_heads),
            StateTensor("recurrent", (width,), "float32", heads=self.num_heads),
        )
