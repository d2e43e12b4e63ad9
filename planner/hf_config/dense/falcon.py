"""Falcon and MPT: multi-query and grouped-query decoders with ALiBi or rotary positions.

Source: the reference implementation of each type in Hugging Face transformers 5.23; the older
RefinedWeb names of Falcon are those of the code first published with its weights.
"""

from dataclasses import replace

from planner.hf_config.dense.decoder import decoder
from planner.hf_config.dense.legacy import PLAIN
from planner.hf_config.families import family
from planner.hf_config.layers.assembly import assemble, divided, group_layers
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import norm


@family("falcon", "RefinedWeb", "RefinedWebModel")
def falcon(fields: Fields) -> Model:
    """Falcon in its three forms: multi-query (7B), grouped (40B and later), multi-head (rw)."""
    fields.aliases.update(
        {
            "hidden_size": ("n_embed",),
            "num_hidden_layers": ("n_layer",),
            "num_attention_heads": ("n_head",),
            "num_kv_heads": ("n_head_kv",),
        }
    )
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    query_heads = fields.integer("num_attention_heads")
    first_grouped = fields.text("model_type") == "RefinedWeb"
    grouped = fields.flag("new_decoder_architecture", default=first_grouped)
    kv_heads = falcon_kv_heads(fields, query_heads, grouped)
    bias = fields.flag("bias", default=False)
    attention = Attention(
        num_attention_heads=query_heads,
        num_key_value_heads=kv_heads,
        head_dim=divided(fields, hidden_size, query_heads),
        qkv_bias=bias,
        o_bias=bias,
    )
    inner = fields.integer("ffn_hidden_size", default=4 * hidden_size)
    if fields.optional("ff_factor") not in (None, inner / hidden_size):
        raise fields.refuse("ff_factor", "contradicts ffn_hidden_size")
    parallel = fields.flag("parallel_attn", default=True)
    norms = fields.integer("num_ln_in_parallel_attn", default=2 if grouped else 1)
    if norms > 2:
        raise fields.refuse("num_ln_in_parallel_attn", f"{norms} is neither 1 nor 2")
    one = norm("layer_norm", hidden_size, bias=True)
    mlp = Mlp(intermediate_size=inner, gated=False, bias=bias)
    fields.ignore("alibi", "apply_residual_connection_post_layernorm", "rotary")
    return assemble(
        fields,
        group_layers(count, lambda index: ((attention,), mlp, one * (norms if parallel else 2))),
        hidden_size=hidden_size,
        tied=True,
        norm_bias=True,
    )


def falcon_kv_heads(fields: Fields, query_heads: int, grouped: bool) -> int:
    """num_kv_heads counts in the grouped form only; else multi_query says one or all."""
    multi_query = fields.flag("multi_query", default=True)
    kv_heads = fields.integer("num_kv_heads", default=query_heads)
    if grouped:
        if query_heads % kv_heads:
            raise fields.refuse("num_kv_heads", f"{kv_heads} does not divide {query_heads} heads")
        return kv_heads
    if multi_query:
        return 1
    if kv_heads != query_heads:
        raise fields.refuse("num_kv_heads", "is used with new_decoder_architecture only")
    return query_heads


@family("mpt")
def mpt(fields: Fields) -> Model:
    """MPT with ALiBi and multi-head attention, the form transformers implements."""
    attention = fields.child("attn_config")
    if attention is not None:
        attention.expect("attn_type", "multihead_attention")
        attention.expect("alibi", True)
        attention.expect("kv_n_heads", fields.raw("n_heads"))
        attention.ignore(
            "attn_pdrop", "attn_impl", "clip_qkv", "softmax_scale", "alibi_bias_max",
            "attn_uses_sequence_id", "prefix_lm", "rope", "rope_impl", "rope_dail_config",
            "rope_hf_config",
        )  # fmt: skip
        attention.finish()
    fields.expect("no_bias", True)
    fields.expect("expansion_ratio", 4)
    fields.expect("embedding_fraction", 1.0)
    fields.expect("norm_type", "low_precision_layernorm")
    fields.expect("ffn_config", {"ffn_type": "mptmlp"}, {"ffn_type": "mptmlp", "fc_type": "torch"})
    traits = replace(
        PLAIN,
        norm="rms",
        qkv_bias=False,
        o_bias=False,
        mlp_bias=False,
        inner_multiple=4,
        inner_name="",
        aliases={
            "hidden_size": ("d_model",),
            "num_hidden_layers": ("n_layers",),
            "num_attention_heads": ("n_heads",),
        },
        ignored=("learned_pos_emb", "verbose", "init_config", "init_device", "fc_type",
                 "use_pad_tok_in_ffn"),
    )  # fmt: skip
    return decoder(fields, traits)
