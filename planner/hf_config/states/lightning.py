"""Lightning attention in most layers, others in full: MiniMax-Text-01 and M1, Ring, Ling 2.5.

Source: MiniMaxConfig and MiniMaxForCausalLM in Hugging Face transformers 5.23; the types of the
published code (attn_type_list) describe the same layers. Ring-linear and Ling 2.5: mlx-lm
0.32.2 (bailing_moe_linear.py, bailing_hybrid.py), and fla-core 0.6.0 for the dtype of states.
"""

from planner.hf_config.experts.decoder import sparse_decoder
from planner.hf_config.experts.first_dense_rows import FIRST_DENSE
from planner.hf_config.families import family
from planner.hf_config.latents.mla import latent_attention
from planner.hf_config.layers.assembly import Layer, assemble, divided, group_layers, heads
from planner.hf_config.layers.experts import Experts, moe, sparse_layers
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.hf_config.states.delta import FULL, LINEAR
from planner.kinds.attention import Attention
from planner.kinds.linear_attention import LightningAttention
from planner.kinds.mlp import Mlp
from planner.model import Mixer, Model
from planner.tensors import norm

SCALES = tuple(
    name
    for part in ("full_attn", "linear_attn", "mlp")
    for name in (f"{part}_alpha_factor", f"{part}_beta_factor")
) + tuple(
    name
    for part in ("full_attention", "linear_attention", "mlp")
    for name in (f"layernorm_{part}_alpha", f"layernorm_{part}_beta")
)


@family("minimax", "minimax_text_01", "minimax_m1")
def minimax(fields: Fields) -> Model:
    """Layers of lightning or full attention, named or by attn_type_list (1 is full)."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore(*SCALES, "block_size", "shared_moe_mode", "postnorm")
    fields.expect("shared_intermediate_size", 0)
    fields.expect("sliding_window", None)
    sizes = heads(fields, hidden_size, num_key_value_heads=8)
    attention = Attention(**sizes)
    lightning = LightningAttention(
        num_heads=sizes["num_attention_heads"], head_dim=sizes["head_dim"]
    )
    full = full_layers(fields, count)
    experts = moe(fields, Experts(size="intermediate_size"))
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: Mixer = attention if full[index] else lightning
        return (mixer,), experts, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)


ROUTING = (
    "moe_router_enable_expert_bias", "moe_router_enable_routed_scaling", "norm_head",
    "norm_softmax", "score_function", "router_dtype", "use_rmsnorm", "max_window_layers",
)  # fmt: skip


def latent_ring(fields: Fields) -> Model:
    """Ling 2.5: as Ring-linear, with latent attention in the layers that are full."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    number = fields.integer("num_attention_heads")
    if "use_qk_norm" not in fields:
        raise fields.refuse("use_qk_norm", "is missing, and lightning layers have a norm or not")
    for name in ("use_qkv_bias", "use_bias"):
        fields.expect(name, False)
    fields.expect("moe_router_enable_shared_expert", True)
    fields.ignore("group_norm_size", "linear_silu", "num_key_value_heads", "qk_head_dim", *ROUTING)
    lightning = LightningAttention(
        num_heads=number,
        head_dim=fields.optional("head_dim") or divided(fields, hidden_size, number),
        qk_norm=fields.flag("use_qk_norm", default=False),
        float32_state=True,
    )
    attention = latent_attention(fields)
    traits = Experts(where="first", shared=True, same_size="moe_shared_expert_intermediate_size")
    has_experts = sparse_layers(fields, count, traits)
    experts = moe(fields, traits)
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size"))
    full = grouped(fields, count)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: Mixer = attention if full[index] else lightning
        return (mixer,), experts if has_experts[index] else mlp, norms

    groups = group_layers(count, layer)
    later = prediction_layers(fields, groups, hidden_size)
    return assemble(fields, groups, hidden_size=hidden_size, tied=False, **later)


def grouped(fields: Fields, count: int) -> list[bool]:
    """Whether each layer is full: the last of each layer_group_size, and what fills no group."""
    every = fields.integer("layer_group_size")
    whole = count // every * every
    return [(index + 1) % every == 0 or index >= whole for index in range(count)]


@family("bailing_moe_linear")
def ring(fields: Fields) -> Model:
    """Ling's decoder, of which the last layer of each group, and what fills no group, is full."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    number = fields.integer("num_attention_heads")
    fields.expect("head_dim", divided(fields, hidden_size, number))
    fields.expect("use_qkv_bias", False)
    fields.ignore("group_norm_size", "linear_silu", "layer_group_size", "router_dtype")
    model = sparse_decoder(fields, FIRST_DENSE["bailing_moe"])
    lightning = LightningAttention(
        num_heads=number,
        head_dim=hidden_size // number,
        qk_norm=fields.flag("use_qk_norm", default=False),
        float32_state=True,
    )
    full = grouped(fields, count)

    def layer(index: int) -> Layer:
        like = model.layer_of(index)
        return like.mixers if full[index] else (lightning,), like.mlp, like.norms

    return model.model_copy(update={"groups": group_layers(count, layer)})


def full_layers(fields: Fields, count: int) -> list[bool]:
    """Whether each layer has full attention; without a list every other layer, as in its class."""
    types = fields.sequence("layer_types", length=count)
    flags = fields.sequence("attn_type_list", length=count)
    if types is not None:
        for kind in types:
            if kind not in LINEAR + FULL:
                raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
        return [kind in FULL for kind in types]
    if flags is not None:
        if any(flag not in (0, 1) for flag in flags):
            raise fields.refuse("attn_type_list", "holds something other than 0 and 1")
        return [flag == 1 for flag in flags]
    if fields.text("model_type") != "minimax":
        raise fields.refuse("attn_type_list", "is missing, so the layers are unknown")
    return [index % 2 == 0 for index in range(count)]
