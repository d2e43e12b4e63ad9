"""Lightning attention in most layers, full attention in others: MiniMax-Text-01, M1, Ring-linear.

Source: MiniMaxConfig and MiniMaxForCausalLM in Hugging Face transformers 5.23; the types of the
published code (attn_type_list) describe the same layers. Ring-linear: mlx-lm 0.32.2
(bailing_moe_linear.py), and fla-core 0.6.0 for the dtype of its states.
"""

from planner.hf_config.experts.decoder import sparse_decoder
from planner.hf_config.experts.first_dense_rows import FIRST_DENSE
from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, divided, group_layers, heads
from planner.hf_config.layers.experts import Experts, moe
from planner.hf_config.reader import Fields, short
from planner.hf_config.states.delta import FULL, LINEAR
from planner.kinds.attention import Attention
from planner.kinds.linear_attention import LightningAttention
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


@family("bailing_moe_linear")
def ring(fields: Fields) -> Model:
    """Ling's decoder, of which the last layer of each group, and what fills no group, is full."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    every = fields.integer("layer_group_size")
    number = fields.integer("num_attention_heads")
    fields.expect("head_dim", divided(fields, hidden_size, number))
    fields.expect("use_qkv_bias", False)
    fields.ignore("group_norm_size", "linear_silu", "router_dtype")
    model = sparse_decoder(fields, FIRST_DENSE["bailing_moe"])
    lightning = LightningAttention(
        num_heads=number,
        head_dim=hidden_size // number,
        qk_norm=fields.flag("use_qk_norm", default=False),
        float32_state=True,
    )
    whole = count // every * every

    def layer(index: int) -> Layer:
        like = model.layer_of(index)
        full = (index + 1) % every == 0 or index >= whole
        return like.mixers if full else (lightning,), like.mlp, like.norms

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
