"""Decoders that mix Mamba layers with attention: Jamba and Nemotron-H.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads
from planner.hf_config.layers.experts import agreed, shared_mlp
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.hf_config.states.mamba import HARMLESS, rank
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp, MoE
from planner.kinds.recurrent import Mamba1, Mamba2
from planner.model import Mixer, Model
from planner.tensors import Weight, linear, norm

PATTERN = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}
BLOCKS = {
    "linear_attention": "mamba",
    "mamba": "mamba",
    "full_attention": "attention",
    "attention": "attention",
    "mlp": "mlp",
    "moe": "moe",
}


@family("jamba")
def jamba(fields: Fields) -> Model:
    """Mamba layers with attention every attn_layer_period, experts every expert_layer_period."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore(*HARMLESS, "mamba_inner_layernorms")
    fields.expect("sliding_window", None)
    attention = Attention(**heads(fields, hidden_size, num_key_value_heads=8, divides=True))
    proj_bias = fields.flag("mamba_proj_bias", default=False)
    mamba = Mamba1(
        intermediate_size=fields.integer("mamba_expand", default=2) * hidden_size,
        state_size=fields.integer("mamba_d_state", default=16),
        conv_kernel=fields.integer("mamba_d_conv", default=4),
        time_step_rank=rank(fields, "mamba_dt_rank", hidden_size),
        conv_bias=fields.flag("mamba_conv_bias", default=True),
        proj_bias=proj_bias,
        inner_norms=True,
    )
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size"))
    num_experts = agreed(fields, "num_experts", "num_local_experts", default=16)
    per_token = fields.integer("num_experts_per_tok", default=2)
    experts = None
    if num_experts > 1:
        experts = MoE(
            num_experts=num_experts,
            num_experts_per_tok=per_token,
            moe_intermediate_size=mlp.intermediate_size,
        )
    attends = every(fields, "attn_layer", 8, 4)
    has_experts = every(fields, "expert_layer", 2, 1)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: Mixer = attention if index % attends[0] == attends[1] else mamba
        sparse = experts is not None and index % has_experts[0] == has_experts[1]
        return (mixer,), experts if sparse else mlp, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)


def every(fields: Fields, name: str, period: int, offset: int) -> tuple[int, int]:
    """Period and offset of a kind of layer."""
    return (
        fields.integer(f"{name}_period", default=period),
        fields.integer(f"{name}_offset", default=offset, least=0),
    )


@family("nemotron_h")
def nemotron_h(fields: Fields) -> Model:
    """Layers that are Mamba-2, attention, a feed-forward part or experts, one of them each."""
    hidden_size = fields.integer("hidden_size")
    blocks = block_types(fields)
    drafted = named_blocks(fields, ("mtp_layers_block_type",), "mtp_hybrid_override_pattern")
    fields.ignore(*HARMLESS, "expand")
    fields.ignore("moe_shared_expert_overlap", "time_step_rank", "num_query_groups")
    fields.aliases["head_dim"] = ("attention_head_dim",)
    fields.expect("attention_bias", False)
    fields.expect("mamba_proj_bias", False)
    fields.expect("tie_word_embeddings", False)
    fields.expect("mamba_ssm_cache_dtype", "float32")
    fields.expect("sliding_window", None)
    attention = Attention(**heads(fields, hidden_size, num_key_value_heads=8, head_dim=128))
    mamba = Mamba2(
        num_heads=fields.integer("mamba_num_heads", default=128),
        head_dim=fields.integer("mamba_head_dim", default=64),
        state_size=fields.integer("ssm_state_size", default=128),
        n_groups=fields.integer("mamba_n_groups", "n_groups", default=8),
        conv_kernel=fields.integer("mamba_d_conv", "conv_kernel", default=4),
        conv_bias=fields.flag("mamba_conv_bias", "use_conv_bias", default=True),
        proj_bias=fields.flag("use_bias", default=False),
    )
    bias = fields.flag("mlp_bias", default=False)
    mlp = None
    if "mlp" in blocks:
        size = fields.integer("intermediate_size")
        mlp = Mlp(intermediate_size=size, gated=False, bias=bias)
    experts = latent_experts(fields, hidden_size, bias) if "moe" in blocks else None
    fields.ignore("intermediate_size")
    one = norm("norm", hidden_size)
    parts: dict[str, Layer] = {
        "mamba": ((mamba,), None, one),
        "attention": ((attention,), None, one),
        "mlp": ((), mlp, one),
        "moe": ((), experts, one),
    }

    def layer(index: int) -> Layer:
        return parts[blocks[index]]

    groups = group_layers(len(blocks), layer)
    mtp = prediction_layers(fields, groups, hidden_size)
    if mtp and drafted not in ([], [blocks[-1]]):
        mtp["notes"] += (f"Of their {' and '.join(drafted)} layers only the last is counted.",)
    return assemble(fields, groups, hidden_size=hidden_size, tied=False, **mtp)


def latent_experts(fields: Fields, hidden_size: int, bias: bool) -> MoE:
    """Plain experts, which may read a narrower vector than the layer (moe_latent_size)."""
    latent = fields.optional("moe_latent_size")
    fields.expect("n_shared_experts", 1)
    extras: tuple[Weight, ...] = ()
    if latent is not None:
        extras = linear("fc1_latent_proj", latent, hidden_size, bias=bias)
        extras += linear("fc2_latent_proj", hidden_size, latent, bias=bias)
    return MoE(
        num_experts=agreed(fields, "n_routed_experts", "num_local_experts"),
        num_experts_per_tok=fields.integer("num_experts_per_tok"),
        moe_intermediate_size=fields.integer("moe_intermediate_size"),
        gated=False,
        shared=shared_mlp(fields.integer("moe_shared_expert_intermediate_size"), False, bias),
        input_size=latent,
        extras=extras,
    )


def block_types(fields: Fields) -> list[str]:
    """What each layer is."""
    blocks = named_blocks(fields, ("layers_block_type", "layer_types"), "hybrid_override_pattern")
    if not blocks:
        raise fields.refuse("hybrid_override_pattern", "is missing, so the layers are unknown")
    count = fields.optional("num_hidden_layers")
    if count is not None and count != len(blocks):
        raise fields.refuse("num_hidden_layers", f"{count} contradicts the {len(blocks)} named")
    return blocks


def named_blocks(fields: Fields, lists: tuple[str, ...], text: str) -> list[str]:
    """Kinds of layers, from a list of names or a text such as "M-M*"; none if neither is there."""
    types, pattern = fields.sequence(*lists), fields.text(text, default="")
    known = PATTERN if types is None else BLOCKS
    for kind in types or pattern:
        if str(kind) not in known:
            name = text if types is None else lists[0]
            raise fields.refuse(name, f"{short(kind)} is not a kind of layer")
    return [known[kind] for kind in types or pattern]
