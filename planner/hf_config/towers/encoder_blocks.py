"""The layers that every encoder of pictures or sound repeats: attention, an MLP and two norms."""

from planner.tensors import Weight, linear, norm


def blocks(
    count: int,
    hidden_size: int,
    intermediate_size: int,
    *,
    part: str = "vision",
    gated: bool = False,
    bias: bool = True,
    norm_bias: bool | None = None,
    qkv_bias: bool | None = None,
    key_bias: bool | None = None,
    out_bias: bool | None = None,
    mlp_bias: bool | None = None,
    down_bias: bool | None = None,
    width: int | None = None,
    kv_width: int | None = None,
    beside: tuple[Weight, ...] = (),
) -> tuple[Weight, ...]:
    """The encoder's layers; gated ones have norms without bias.

    bias: of every projection that is not named. width, kv_width: of queries, and of keys and
    values, where they are not the hidden size. beside: what else each layer holds.
    """

    def own(chosen: bool | None, otherwise: bool = bias) -> bool:
        return otherwise if chosen is None else chosen

    qkv, width = own(qkv_bias), width or hidden_size
    found = norm("norm", hidden_size, bias=own(norm_bias, not gated)) * 2
    found += linear("attn.q_proj", width, hidden_size, "column", bias=qkv)
    found += linear(
        "attn.k_proj", kv_width or width, hidden_size, "column", bias=own(key_bias, qkv)
    )
    found += linear("attn.v_proj", kv_width or width, hidden_size, "column", bias=qkv)
    found += linear("attn.proj", hidden_size, width, "row", bias=own(out_bias))
    mlp = own(mlp_bias)
    for name in ("gate", "up") if gated else ("up",):
        found += linear(f"mlp.{name}", intermediate_size, hidden_size, "column", bias=mlp)
    down = own(down_bias, mlp)
    found += linear("mlp.down", hidden_size, intermediate_size, "row", bias=down)
    return tuple(
        Weight(f"{part}.{w.name}", w.shape, w.role, w.split, copies=count)
        for w in (*found, *beside)
    )
