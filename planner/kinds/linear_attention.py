"""Linear attention with a matrix-valued state: Kimi delta, lightning, xLSTM, RWKV-4 and RWKV-7.

Shapes and dtypes of the states are those of the reference implementations.
"""

from typing import Literal

from planner.kinds.recurrent import Recurrent
from planner.tensors import StateTensor, Weight, linear, norm


class KimiDeltaAttention(Recurrent):
    """Delta rule with a decay per channel (KDA).

    low_rank: the gates go through head_dim; full_output_gate: that of the output does not.
    """

    type: Literal["kda"] = "kda"
    num_heads: int
    head_dim: int
    conv_kernel: int
    low_rank: bool = True
    full_output_gate: bool = False

    @property
    def kind(self) -> str:
        return "kda"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        width = self.num_heads * self.head_dim
        found: tuple[Weight, ...] = ()
        for name in ("q_proj", "k_proj", "v_proj"):
            found += linear(name, width, hidden_size, "column")
        found += (
            Weight("conv1d", (3 * width, self.conv_kernel), "conv", "column"),
            Weight("dt_bias", (width,), "vector", "column"),
            Weight("A_log", (self.num_heads,), "vector", "column"),
        )
        for gate in ("f", "g"):
            if self.low_rank and not (gate == "g" and self.full_output_gate):
                found += linear(f"{gate}_a_proj", self.head_dim, hidden_size)
                found += linear(f"{gate}_b_proj", width, self.head_dim, "column")
            else:
                found += linear(f"{gate}_proj", width, hidden_size, "column")
        found += linear("b_proj", self.num_heads, hidden_size, "column")
        return found + norm("o_norm", self.head_dim) + linear("o_proj", hidden_size, width, "row")

    def state(self) -> tuple[StateTensor, ...]:
        heads, width = self.num_heads, self.head_dim
        return (
            StateTensor("conv", (3 * heads * width, self.conv_kernel), heads=heads),
            StateTensor("recurrent", (heads, width, width), "float32", heads=heads),
        )


class LightningAttention(Recurrent):
    """Linear attention with a fixed decay per head (MiniMax-Text-01, MiniMax-M1, Ring-linear).

    qk_norm: queries and keys have a norm. float32_state: the state is kept so, whatever the dtype.
    """

    type: Literal["lightning_attention"] = "lightning_attention"
    num_heads: int
    head_dim: int
    qk_norm: bool = False
    float32_state: bool = False

    @property
    def kind(self) -> str:
        return "lightning_fp32" if self.float32_state else "lightning"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        width = self.num_heads * self.head_dim
        return (
            *linear("qkv_proj", 3 * width, hidden_size, "column"),
            *linear("output_gate", width, hidden_size, "column"),
            Weight("norm", (width,), "norm", "column"),
            *norm("qk_norm", self.head_dim) * (2 * self.qk_norm),
            *linear("out_proj", hidden_size, width, "row"),
        )

    def state(self) -> tuple[StateTensor, ...]:
        shape = (self.num_heads, self.head_dim, self.head_dim)
        dtype: Literal["model", "float32"] = "float32" if self.float32_state else "model"
        return (StateTensor("recurrent", shape, dtype, heads=self.num_heads),)


class MatrixLstm(Recurrent):
    """The mLSTM of xLSTM: a matrix memory, its normaliser and its gate's running maximum."""

    type: Literal["mlstm"] = "mlstm"
    num_heads: int
    qk_dim: int
    v_dim: int
    bias: bool = False

    @property
    def kind(self) -> str:
        return "mlstm"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        found: tuple[Weight, ...] = ()
        for name, width in (("q", self.qk_dim), ("k", self.qk_dim), ("v", self.v_dim)):
            found += linear(name, width, hidden_size, "column", bias=self.bias)
        found += linear("ogate_preact", self.v_dim, hidden_size, "column", bias=self.bias)
        for name in ("igate_preact", "fgate_preact"):
            found += linear(name, self.num_heads, hidden_size, "column", bias=True)
        found += (Weight("multihead_norm", (self.v_dim,), "norm", "column"),)
        if self.bias:
            found += (Weight("multihead_norm.bias", (self.v_dim,), "norm", "column"),)
        return found + linear("out_proj", hidden_size, self.v_dim, "row", bias=self.bias)

    def state(self) -> tuple[StateTensor, ...]:
        heads = self.num_heads
        keys, values = self.qk_dim // heads, self.v_dim // heads
        return (
            StateTensor("memory", (heads, keys, values), heads=heads),
            StateTensor("normaliser", (heads, keys), heads=heads),
            StateTensor("maximum", (heads, 1), heads=heads),
        )


class Rwkv4(Recurrent):
    """RWKV-4: time mixing and channel mixing, each with the token before as its input.

    The two shifted inputs are kept in the model's dtype, the three running sums in float32.
    """

    type: Literal["rwkv4"] = "rwkv4"
    hidden_size: int
    intermediate_size: int

    @property
    def kind(self) -> str:
        return "rwkv4"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        inner = self.intermediate_size
        names = ("time_decay", "time_first", "mix_key", "mix_value", "mix_receptance")
        found = tuple(Weight(n, (hidden_size,), "vector") for n in names)
        for name in ("key", "value", "receptance"):
            found += linear(name, hidden_size, hidden_size, "column")
        found += linear("output", hidden_size, hidden_size, "row")
        found += tuple(Weight(f"ffn.{n}", (hidden_size,), "vector") for n in names[2::2])
        found += linear("ffn.key", inner, hidden_size, "column")
        found += linear("ffn.receptance", hidden_size, hidden_size)
        return found + linear("ffn.value", hidden_size, inner, "row")

    def state(self) -> tuple[StateTensor, ...]:
        return (
            StateTensor("shifted", (2, self.hidden_size)),
            StateTensor("sums", (3, self.hidden_size), "float32", heads=self.hidden_size),
        )


class Rwkv7(Recurrent):
    """RWKV-7: time mixing by a delta rule with low-rank gates, and channel mixing.

    value_rank: of the residual to the first layer's values, which the first layer itself lacks.
    The two shifted inputs are kept in the model's dtype, the matrix state in float32.
    """

    type: Literal["rwkv7"] = "rwkv7"
    hidden_size: int
    head_dim: int
    intermediate_size: int
    decay_rank: int
    rate_rank: int
    gate_rank: int
    value_rank: int | None = None

    @property
    def kind(self) -> str:
        return "rwkv7"

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        mixed = ("x_r", "x_w", "x_k", "x_v", "x_a", "x_g", "k_k", "k_a", "r_k", "ffn.x_k")
        found = tuple(Weight(name, (hidden_size,), "vector") for name in mixed)
        for name in ("r_proj", "k_proj", "v_proj"):
            found += linear(name, hidden_size, hidden_size, "column")
        found += linear("o_proj", hidden_size, hidden_size, "row")
        ranks = {"w": self.decay_rank, "a": self.rate_rank, "v": self.value_rank}
        for name, rank in (*ranks.items(), ("g", self.gate_rank)):
            if rank is not None:
                found += linear(f"{name}_lora.0", rank, hidden_size)
                found += linear(f"{name}_lora.2", hidden_size, rank, "column", bias=name != "g")
        found += norm("g_norm", hidden_size, bias=True)
        found += linear("ffn.key", self.intermediate_size, hidden_size, "column")
        return found + linear("ffn.value", hidden_size, self.intermediate_size, "row")

    def state(self) -> tuple[StateTensor, ...]:
        heads, width = self.hidden_size // self.head_dim, self.head_dim
        return (
            StateTensor("shifted", (2, self.hidden_size)),
            StateTensor("recurrent", (heads, width, width), "float32", heads=heads),
        )
