"""GLM-5-Next: delta-rule layers, and latent attention whose indexer scores pools of keys.

Every layer mixes parallel residual streams.
Source: the reference implementation in Hugging Face transformers 5.24.
"""

from planner.hf_config.families import family
from planner.hf_config.latents.compressed import hyper_connection
from planner.hf_config.latents.mla import indexer, indexers, latent_attention
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.layers.experts import Experts, moe, sparse_layers
from planner.hf_config.reader import Fields
from planner.hf_config.states.delta import linear_layers
from planner.kinds.indexer import Indexer
from planner.kinds.linear_attention import KimiDeltaAttention
from planner.kinds.mlp import Mlp
from planner.model import Mixer, Model
from planner.tensors import Weight, norm

NAMES = {
    "head_dim": "linear_head_dim",
    "num_heads": "linear_num_heads",
    "short_conv_kernel_size": "linear_conv_kernel_dim",
}
DEFAULTS = {
    "q_lora_rank": 1536, "n_shared_experts": 1, "qk_rope_head_dim": 0, "index_n_heads": 32,
    "index_head_dim": 128, "index_topk": 2048,
}  # fmt: skip


@family("glm5_next_text")
def glm5_next(fields: Fields) -> Model:
    """Three delta-rule layers, then one of latent attention; the first three have no experts."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.fill(**DEFAULTS)
    fields.ignore("num_key_value_heads", "head_dim", "qk_head_dim", "hc_eps", "hc_sinkhorn_iters")
    fields.ignore("linear_lower_bound", "index_kpool_always_select_tail")
    nested = fields.child("linear_attn_config")
    if nested is not None:
        nested.ignore("gate_lower_bound", "safe_gate")
        for name, flat in NAMES.items():
            if name in nested:
                fields.settle(flat, nested.raw(name))
        nested.finish()
    delta = KimiDeltaAttention(
        num_heads=fields.integer("linear_num_heads", default=64),
        head_dim=fields.integer("linear_head_dim", default=128),
        conv_kernel=fields.integer("linear_conv_kernel_dim", default=4),
    )
    linear = linear_layers(fields, count, also=("indexed_attention",))
    types = fields.config.get("layer_types")
    fields.settle("layer_types", None)
    own = indexers(fields, count)
    fields.settle("layer_types", types)
    attention = latent_attention(fields, least_rope=0)
    chooser = pooled(fields, hidden_size, attention.q_lora_rank)
    traits = Experts(where="first", listed=True, shared=True)
    fields.fill(first_k_dense_replace=3)
    fields.expect("first_k_dense_replace", 3)
    has_experts = sparse_layers(fields, count, traits)
    experts = moe(fields, traits)
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size"))
    streams = fields.integer("hc_mult", default=4)
    norms = norm("layernorm", hidden_size) * 2
    for name in ("attn_hc", "ffn_hc"):
        norms += hyper_connection(name, streams, hidden_size, (2 + streams) * streams, 3)

    def layer(index: int) -> Layer:
        chosen = chooser if own[index] else chooser.model_copy(update={"shared": True})
        mixer: Mixer = attention.model_copy(update={"indexer": chosen})
        return (delta if linear[index] else mixer,), experts if has_experts[index] else mlp, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)


def pooled(fields: Fields, hidden_size: int, q_lora_rank: int | None) -> Indexer:
    """An indexer that keeps a key, the gate of its place in a pool, and whether it is padding."""
    plain = indexer(fields, hidden_size, q_lora_rank)
    pool = fields.integer("index_kpool", default=16)
    size = plain.head_dim
    return plain.model_copy(
        update={
            "key_width": 2 * size + 1,
            "weights": (
                *plain.weights,
                Weight("indexer.pool_positions", (pool, size), "vector"),
                Weight("indexer.pool_gate", (size, hidden_size), "vector"),
            ),
        }
    )
