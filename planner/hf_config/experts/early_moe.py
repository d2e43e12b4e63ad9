"""DBRX, JetMoE and Doge: experts under names of their own, or of one row each.

Source: the reference implementation of each type in Hugging Face transformers 5.24.
"""

from dataclasses import replace
from math import isqrt

from planner.hf_config.dense.bases import LLAMA
from planner.hf_config.dense.decoder import decoder
from planner.hf_config.families import family
from planner.hf_config.layers.assembly import assemble, divided, group_layers
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import MoE
from planner.model import Model
from planner.tensors import Weight, linear, norm

PLAIN = (
    "return_dict", "output_hidden_states", "max_length", "temperature", "top_k", "top_p",
    "id2label", "label2id", "tie_word_embeddings", "model_type", "attn_pdrop", "clip_qkv",
    "rope_theta", "moe_jitter_eps", "moe_loss_weight", "moe_normalize_expert_weights",
    "uniform_expert_assignment", "ffn_act_fn",
)  # fmt: skip


@family("dbrx")
def dbrx(fields: Fields) -> Model:
    """Attention and experts are described by nested objects; norms have no shift."""
    hidden_size = fields.integer("d_model", "hidden_size")
    count = fields.integer("n_layers", "num_hidden_layers")
    heads = fields.integer("n_heads", "num_attention_heads")
    fields.ignore("max_seq_len", "resid_pdrop", "emb_pdrop")
    attn, ffn = fields.child("attn_config"), fields.child("ffn_config")
    if attn is None or ffn is None:
        missing = "attn_config" if attn is None else "ffn_config"
        raise fields.refuse(missing, "is missing, and the model cannot be sized without it")
    attn.ignore(*PLAIN)
    ffn.ignore(*PLAIN, "hidden_size")
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=attn.integer("kv_n_heads", default=1),
        head_dim=divided(fields, hidden_size, heads),
    )
    fields.expect("num_key_value_heads", attention.num_key_value_heads)
    experts = MoE(
        num_experts=ffn.integer("moe_num_experts", default=4),
        num_experts_per_tok=ffn.integer("moe_top_k", default=1),
        moe_intermediate_size=ffn.integer("ffn_hidden_size", default=3584),
    )
    attn.finish()
    ffn.finish()
    norms = norm("norm", hidden_size) * 2
    groups = group_layers(count, lambda index: ((attention,), experts, norms))
    return assemble(fields, groups, hidden_size=hidden_size, tied=False)


@family("jetmoe")
def jetmoe(fields: Fields) -> Model:
    """Experts in attention too: each holds query and output projections for the KV heads."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    num_experts = fields.integer("num_local_experts", default=8)
    active = fields.integer("num_experts_per_tok", default=2)
    kv_heads = fields.integer("num_key_value_heads", default=16)
    head_dim = fields.integer("kv_channels", default=128)
    fields.expect("num_attention_heads", kv_heads * active)
    inner = fields.integer("intermediate_size")
    same = {"bias": True, "glu": True, "ffn_hidden_size": inner, "moe_num_experts": num_experts}
    same |= {"moe_top_k": active, "num_layers": count, "n_layer": count}
    fields.ignore("n_positions")
    for name, value in same.items():
        fields.expect(name, value)
    width = kv_heads * head_dim
    extras = linear("kv_proj", 2 * width, hidden_size, "kv", kv_heads=kv_heads)
    for name, shape in (("q", (width, hidden_size)), ("o", (hidden_size, width))):
        extras += (
            Weight(f"experts.{name}_proj", shape, "expert", copies=num_experts, active=active),
        )
    extras += linear("experts.router", num_experts, hidden_size, role="router")
    extras += (Weight("experts.bias", (hidden_size,), "bias"),)
    attention = Attention(
        num_attention_heads=kv_heads * active,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        projections=False,
        extras=extras,
    )
    experts = MoE(
        num_experts=num_experts,
        num_experts_per_tok=active,
        moe_intermediate_size=inner,
        extras=(Weight("bias", (hidden_size,), "bias"),),
    )
    norms = norm("layernorm", hidden_size) * 2
    groups = group_layers(count, lambda index: ((attention,), experts, norms))
    return assemble(fields, groups, hidden_size=hidden_size, tied=True)


DOGE = replace(
    LLAMA,
    divides=True,
    qk_norm="head",
    attention_extras=lambda attention, hidden: (
        Weight("A", (attention.num_key_value_heads,), "vector"),
        *linear(
            "dt_proj",
            attention.num_key_value_heads,
            attention.num_key_value_heads * attention.head_dim,
            bias=attention.qkv_bias,
        ),
    ),
    layer_extras=lambda hidden: (
        Weight("input_residual", (hidden,), "vector"),
        Weight("post_attention_residual", (hidden,), "vector"),
    ),
    windows="every",
    ignored=("keep_window_size",),
)


@family("doge")
def doge(fields: Fields) -> Model:
    """A dense part in every layer, and beside it, if is_moe, experts of a row in two tables."""
    if not fields.flag("is_moe", default=False):
        fields.ignore("num_experts", "num_experts_per_tok")
        return decoder(fields, DOGE)
    rows = fields.integer("num_experts", default=16384)
    active = fields.integer("num_experts_per_tok", default=64, most=rows)

    def experts(hidden_size: int, inner: int) -> tuple[Weight, ...]:
        tables = tuple(
            Weight(name, (hidden_size,), "vector", copies=rows, active=active)
            for name in ("down_embed", "up_embed")
        )
        return (*linear("router_gate", 2 * isqrt(rows), hidden_size, role="router"), *tables)

    return decoder(fields, replace(DOGE, mlp_extras=experts))
