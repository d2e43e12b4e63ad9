"""Feed-forward layers: gated, plain, and mixtures of experts."""

from typing import Literal

from planner.frozen import Frozen
from planner.tensors import Role, Weight, linear


class Mlp(Frozen):
    """A dense feed-forward layer: gated (gate, up, down) or plain (up, down)."""

    type: Literal["mlp"] = "mlp"
    intermediate_size: int
    gated: bool = True
    bias: bool = False
    extras: tuple[Weight, ...] = ()

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        return (
            *projections(hidden_size, self.intermediate_size, self.gated, self.bias),
            *self.extras,
        )


class MoE(Frozen):
    """Routed experts, of which num_experts_per_tok work on a token, beside shared ones.

    input_size: what an expert reads and writes when it is not the hidden size (latent experts).
    shared_gate: the shared experts' output is scaled by a learned scalar. router: whether a matrix
    chooses them; where something else does, it is among the extras.
    """

    type: Literal["moe"] = "moe"
    num_experts: int
    num_experts_per_tok: int
    moe_intermediate_size: int
    gated: bool = True
    bias: bool = False
    router: bool = True
    router_bias: bool = False
    shared: Mlp | None = None
    shared_gate: bool = False
    input_size: int | None = None
    extras: tuple[Weight, ...] = ()

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        found: tuple[Weight, ...] = ()
        if self.router:
            found += linear(
                "router", self.num_experts, hidden_size, bias=self.router_bias, role="router"
            )
        found += projections(
            hidden_size if self.input_size is None else self.input_size,
            self.moe_intermediate_size,
            self.gated,
            self.bias,
            prefix="experts.",
            copies=self.num_experts,
            active=self.num_experts_per_tok,
            role="expert",
        )
        if self.shared is not None:
            found += self.shared.weights(hidden_size)
        if self.shared_gate:
            found += linear("shared_expert_gate", 1, hidden_size)
        return found + self.extras


def projections(
    hidden_size: int,
    intermediate_size: int,
    gated: bool,
    bias: bool,
    *,
    prefix: str = "",
    copies: int = 1,
    active: int | None = None,
    role: Role = "linear",
) -> tuple[Weight, ...]:
    """The two or three matrices of one feed-forward layer, or of `copies` experts."""
    found: tuple[Weight, ...] = ()
    for name in ("gate_proj", "up_proj") if gated else ("up_proj",):
        found += linear(
            prefix + name, intermediate_size, hidden_size, "column",
            bias=bias, copies=copies, active=active, role=role,
        )  # fmt: skip
    return found + linear(
        prefix + "down_proj", hidden_size, intermediate_size, "row",
        bias=bias, copies=copies, active=active, role=role,
    )  # fmt: skip
