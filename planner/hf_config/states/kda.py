"""Decoders that mix Kimi delta attention with latent attention: Kimi-Linear, Kimi K3 and Ling 3.0.

Source: the reference implementation of each type in Hugging Face transformers 5.24; what Kimi K3
adds, in SGLang 0.5.23 (srt/models/kimi_k3.py) and the tensors of its files as
github.com/gogongxt/python lists them (scripts/models/kimi_k3.md).
"""

from planner.hf_config.families import family
from planner.hf_config.latents.mla import latent_attention
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.layers.experts import Experts, moe, sparse_layers
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.hf_config.states.delta import FULL, LINEAR
from planner.hf_config.states.lightning import ROUTING, latent_ring
from planner.kinds.linear_attention import KimiDeltaAttention
from planner.kinds.mlp import Mlp, MoE
from planner.model import Mixer, Model
from planner.tensors import Weight, linear, norm

IGNORED = (
    "num_key_value_heads", "head_dim", "qk_head_dim", "moe_renormalize", "num_expert_group",
    "use_grouped_topk", "mla_use_nope", "moe_router_activation_func", "model_max_length",
    "kda_safe_gate", "kda_lower_bound", "mtp_loss_scaling_factor", "activation_situ_beta",
    "activation_situ_linear_beta",
)  # fmt: skip

LING_3 = ("kda_safe_gate", "kda_lower_bound", "no_kda_lora")
"""Fields of Ling 3's delta layers, where Ling 2.5 has lightning ones under the same model type."""

FLAT = {
    "num_heads": "linear_num_heads",
    "head_dim": "linear_head_dim",
    "short_conv_kernel_size": "linear_conv_kernel_dim",
}
"""Names of the delta layers' sizes where transformers saved the file."""


@family("kimi_linear", "bailing_hybrid")
def kda(fields: Fields) -> Model:
    """Delta-rule layers with latent attention in every few; neither type ties its head."""
    kimi = fields.text("model_type") == "kimi_linear"
    if not kimi and "group_norm_size" in fields and not any(name in fields for name in LING_3):
        return latent_ring(fields)
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore(*IGNORED)
    fields.expect("tie_word_embeddings", False)
    fields.fill(first_k_dense_replace=1 if kimi else 2, num_shared_experts=1)
    heads = fields.integer("num_attention_heads")
    nested = fields.part("linear_attn_config")
    attention = latent_attention(fields)
    if kimi:
        full = kimi_layers(fields, nested, count)
        delta = KimiDeltaAttention(
            num_heads=stated(fields, nested, "num_heads", 32),
            head_dim=stated(fields, nested, "head_dim", 128),
            conv_kernel=stated(fields, nested, "short_conv_kernel_size", 4),
            full_output_gate=nested.flag("use_full_rank_gate", default=False),
        )
        nested.ignore("gate_lower_bound")
        if fields.flag("mla_use_output_gate", default=False):
            gate = linear("g_proj", heads * attention.v_head_dim, hidden_size, "column")
            attention = attention.model_copy(update={"extras": gate})
    else:
        every = fields.integer("layer_group_size", default=6)
        full = named(fields, count) or [(index + 1) % every == 0 for index in range(count)]
        fields.expect("no_kda_lora", True)
        fields.expect("gated_attention_proj_granularity_type", "head_wise")
        fields.expect("use_bias", False)
        fields.expect("use_qkv_bias", False)
        fields.ignore("group_norm_size", "use_qk_norm", *ROUTING)
        delta = KimiDeltaAttention(
            num_heads=heads,
            head_dim=fields.integer("head_dim", default=128),
            conv_kernel=fields.integer("short_conv_kernel_size", default=4),
            low_rank=False,
        )
        fields.expect("linear_num_heads", delta.num_heads)
        fields.expect("linear_head_dim", delta.head_dim)
        fields.expect("linear_conv_kernel_dim", delta.conv_kernel)
        gate = linear("g_proj", heads, hidden_size, "column")
        attention = attention.model_copy(update={"extras": gate})
    nested.finish()
    same = None if kimi else "moe_shared_expert_intermediate_size"
    traits = Experts(where="first", listed=True, shared=True, same_size=same)
    has_experts = sparse_layers(fields, count, traits)
    experts = narrowed(fields, moe(fields, traits), hidden_size) if kimi else moe(fields, traits)
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size"))
    norms = norm("layernorm", hidden_size) * 2
    last: tuple[Weight, ...] = ()
    if kimi and fields.optional("attn_res_block_size") is not None:
        norms += residual_choice("self_attention_res", hidden_size)
        norms += residual_choice("mlp_res", hidden_size)
        last = residual_choice("output_attn_res", hidden_size)

    def layer(index: int) -> Layer:
        mixer: Mixer = attention if full[index] else delta
        return (mixer,), experts if has_experts[index] else mlp, norms

    groups = group_layers(count, layer)
    return assemble(
        fields,
        groups,
        hidden_size=hidden_size,
        tied=False,
        extras=last,
        **prediction_layers(fields, groups, hidden_size),
    )


def residual_choice(name: str, hidden_size: int) -> tuple[Weight, ...]:
    """A norm and one row that weigh the residuals of earlier blocks (attn_res_block_size)."""
    return (*norm(f"{name}_norm", hidden_size), Weight(f"{name}_proj", (1, hidden_size), "vector"))


def narrowed(fields: Fields, experts: MoE, hidden_size: int) -> MoE:
    """Routed experts between two projections, where they read less than the hidden size."""
    normed = fields.flag("latent_moe_use_norm", default=False)
    width = fields.optional("routed_expert_hidden_size")
    if width is None:
        return experts
    extras = linear("routed_expert_down_proj", width, hidden_size)
    extras += norm("routed_expert_norm", width) * normed
    extras += linear("routed_expert_up_proj", hidden_size, width)
    return experts.model_copy(update={"input_size": width, "extras": experts.extras + extras})


def stated(fields: Fields, nested: Fields, name: str, default: int) -> int:
    """A size of Kimi's delta layers: the nested one goes before the flat one, as there."""
    return nested.integer(name, default=fields.integer(FLAT[name], default=default))


def named(fields: Fields, count: int) -> list[bool] | None:
    """Whether `layer_types` says each layer is full, or None where it is absent."""
    types = fields.sequence("layer_types", length=count)
    for kind in types or []:
        if kind not in LINEAR + FULL:
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    return None if types is None else [kind in FULL for kind in types]


def kimi_layers(fields: Fields, nested: Fields, count: int) -> list[bool]:
    """Full layers by name, by two lists of positions that start at 1, or every fourth."""
    full = nested.positions("full_attn_layers")
    delta = nested.positions("kda_layers")
    types = named(fields, count)
    if types is not None:
        return types
    if full is None or delta is None:
        return [index > 0 and index % 4 == 0 for index in range(count)]
    if sorted([*full, *delta]) != list(range(1, count + 1)):
        raise nested.refuse("kda_layers", "and full_attn_layers do not name every layer once")
    return [index + 1 in full for index in range(count)]
