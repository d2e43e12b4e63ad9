"""Mamba-2 beside or between attention: Bamba, Falcon-H1 and Granite 4.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads
from planner.hf_config.layers.experts import Experts, moe
from planner.hf_config.reader import Fields, short
from planner.hf_config.states.hybrid import BLOCKS
from planner.hf_config.states.mamba import HARMLESS
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.kinds.recurrent import Mamba2
from planner.model import FeedForward, Mixer, Model
from planner.tensors import Weight, norm


def mamba2(fields: Fields, hidden_size: int, *, inner: int | None = None) -> Mamba2:
    """A Mamba-2 layer under the names these families share."""
    fields.ignore(*HARMLESS, "mamba_chunk_size", "mamba_norm_before_gate", "num_logits_to_keep")
    if inner is None:
        inner = fields.integer("mamba_expand", default=2) * hidden_size
    num_heads = fields.integer("mamba_n_heads", default=128)
    if fields.raw("mamba_d_head") in (None, "auto"):
        head_dim = inner // num_heads
    else:
        head_dim = fields.integer("mamba_d_head")
    if num_heads * head_dim != inner:
        product = f"{num_heads} x {head_dim} (mamba_d_head)"
        raise fields.refuse("mamba_n_heads", f"{product} is not the inner size {inner}")
    return Mamba2(
        num_heads=num_heads,
        head_dim=head_dim,
        state_size=fields.integer("mamba_d_state", default=256),
        n_groups=fields.integer("mamba_n_groups", default=1),
        conv_kernel=fields.integer("mamba_d_conv", default=4),
        conv_bias=fields.flag("mamba_conv_bias", default=not fields.given("mamba_conv_bias")),
        proj_bias=fields.flag("mamba_proj_bias", default=False),
    )


def biased_attention(fields: Fields, hidden_size: int, *, kv_heads: int | None) -> Attention:
    """Attention with biases by one flag."""
    bias = fields.flag("attention_bias", default=False)
    sizes = heads(fields, hidden_size, num_key_value_heads=kv_heads)
    return Attention(**sizes, qkv_bias=bias, o_bias=bias)


@family("bamba")
def bamba(fields: Fields) -> Model:
    """Attention in the layers attn_layer_indices names, Mamba-2 in the others."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("attn_rotary_emb", "z_loss_coefficient")
    attention = biased_attention(fields, hidden_size, kv_heads=8)
    mamba = mamba2(fields, hidden_size)
    mlp = gated_mlp(fields)
    attends = fields.positions("attn_layer_indices") or []
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: Mixer = attention if index in attends else mamba
        return (mixer,), mlp, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)


@family("falcon_h1")
def falcon_h1(fields: Fields) -> Model:
    """Every layer runs attention and Mamba-2 side by side."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("ssm_multipliers", "mlp_multipliers", "mlp_expansion_factor", "mamba_expand")
    fields.ignore("time_step_rank")
    fields.expect("attn_layer_indices", None)
    fields.expect("mamba_use_mlp", True)
    attention = biased_attention(fields, hidden_size, kv_heads=8)
    inner = fields.optional("mamba_d_ssm")
    if inner is None and not fields.given("mamba_d_ssm"):
        inner = 1024
    mamba = mamba2(fields, hidden_size, inner=inner)
    biases = {}
    if mamba.proj_bias:
        projected = 2 * mamba.intermediate_size + 2 * mamba.n_groups * mamba.state_size
        biases["in_proj"] = projected + mamba.num_heads
    if fields.flag("projectors_bias", default=False):
        biases["out_proj"] = hidden_size
    extras = tuple(Weight(f"{name}.bias", (size,), "bias") for name, size in biases.items())
    mamba = mamba.model_copy(update={"proj_bias": False, "extras": extras})
    gated_norm = fields.flag("mamba_rms_norm", default=False)
    mamba = mamba.model_copy(update={"gated_norm": gated_norm})
    mlp = gated_mlp(fields)
    norms = norm("layernorm", hidden_size) * 2
    groups = group_layers(count, lambda index: ((attention, mamba), mlp, norms))
    return assemble(fields, groups, hidden_size=hidden_size, tied=False)


@family("granitemoehybrid")
def granite_hybrid(fields: Fields) -> Model:
    """Mamba-2 or attention by layer_types; experts, if there are any, beside a shared MLP."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("position_embedding_type", "intermediate_size")
    fields.expect("normalization_function", "rmsnorm")
    attention = biased_attention(fields, hidden_size, kv_heads=None)
    mamba = mamba2(fields, hidden_size)
    width = fields.integer("shared_intermediate_size", default=1024)
    mlp: FeedForward = Mlp(intermediate_size=width)
    if fields.integer("num_local_experts", default=8, least=0):
        fields.fill(shared_intermediate_size=width, num_local_experts=8, num_experts_per_tok=2)
        traits = Experts(size="intermediate_size", shared_size="shared_intermediate_size")
        mlp = moe(fields, traits)
    fields.ignore("num_experts_per_tok")
    kinds = fields.sequence("layer_types", "layers_block_type", length=count)
    for kind in kinds or []:
        if BLOCKS.get(str(kind)) not in ("mamba", "attention"):
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: Mixer = mamba
        if kinds is not None and BLOCKS[kinds[index]] == "attention":
            mixer = attention
        return (mixer,), mlp, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)


def gated_mlp(fields: Fields) -> Mlp:
    """The feed-forward part of every layer."""
    size = fields.integer("intermediate_size")
    return Mlp(intermediate_size=size, bias=fields.flag("mlp_bias", default=False))
