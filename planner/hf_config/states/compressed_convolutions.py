"""ZAYA: attention behind convolutions of queries and keys, and experts that a small network routes.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.convolution import CompressedConvolution
from planner.kinds.mlp import MoE
from planner.model import Model
from planner.tensors import Weight, linear, norm

LOCAL, GLOBAL = "hybrid_sliding", "hybrid"
SKIP = "A token may be sent to no expert: the active parameters are the most that can work on one."


@family("zaya")
def zaya(fields: Fields) -> Model:
    """Experts in every layer, one per token; one more route leads to none."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.expect("num_experts_per_tok", 1)
    sizes = heads(fields, hidden_size, head_dim=128, num_key_value_heads=2)
    if sizes["num_key_value_heads"] * sizes["head_dim"] % 2:
        raise fields.refuse("head_dim", "makes values that cannot be halved")
    kernels = (fields.integer("cca_time0", default=2), fields.integer("cca_time1", default=2))
    bias = fields.flag("attention_bias", default=False)
    convolution = CompressedConvolution(**sizes, kernels=kernels, bias=bias)
    attention = Attention(**sizes, projections=False)
    experts = MoE(
        num_experts=fields.integer("num_experts", "num_local_experts", default=16),
        num_experts_per_tok=1,
        moe_intermediate_size=fields.integer("moe_intermediate_size"),
        router=False,
    )
    rank = fields.integer("router_hidden_size", default=256)
    routing = router(hidden_size, rank, experts.num_experts + 1)
    scales = Weight("residual_scales", (8, hidden_size), "vector")
    norms = (*norm("layernorm", hidden_size) * 2, scales)
    windows = layer_windows(fields, count)

    def layer(index: int) -> Layer:
        own = (Weight("router_states_scale", (rank,), "vector"),) if index else ()
        part = experts.model_copy(update={"extras": (*routing, *own)})
        kept = attention.model_copy(update={"window": windows[index]})
        return (kept, convolution), part, norms

    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=True,
        head_bias=fields.flag("lm_head_bias", default=False),
        extras=(Weight("input_scales", (2, hidden_size), "vector"),),
        notes=(SKIP,),
    )


def router(hidden_size: int, rank: int, routes: int) -> tuple[Weight, ...]:
    """The network that chooses an expert."""
    return (
        *linear("router.down_proj", rank, hidden_size, bias=True, role="router"),
        *norm("router.norm", rank),
        *linear("router.fc1", rank, rank, bias=True, role="router"),
        *linear("router.fc2", rank, rank, bias=True, role="router"),
        *linear("router.out_proj", routes, rank, role="router"),
    )


def layer_windows(fields: Fields, count: int) -> list[int | None]:
    """What each layer keeps."""
    window = fields.optional("sliding_window")
    found: list[int | None] = []
    for kind in fields.sequence("layer_types", length=count) or [GLOBAL] * count:
        if kind not in (LOCAL, GLOBAL):
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
        if kind == LOCAL and window is None:
            raise fields.refuse("sliding_window", "is missing, but layer_types names it")
        found.append(window if kind == LOCAL else None)
    return found
