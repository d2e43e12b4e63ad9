"""MiniMax-M3: grouped-query attention whose keys an indexer chooses, and experts.

Source: MiniMaxM3VLTextConfig and MiniMaxM3VLForCausalLM in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads
from planner.hf_config.layers.experts import Experts, agreed, shared_mlp, sparse_layers
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.indexer import Indexer
from planner.kinds.mlp import Mlp, MoE
from planner.model import Model
from planner.tensors import linear, norm

LEGACY = {
    "index_n_heads": "sparse_num_index_heads",
    "index_head_dim": "sparse_index_dim",
    "index_block_size": "sparse_block_size",
    "index_topk_blocks": "sparse_topk_blocks",
    "index_local_blocks": "sparse_local_block",
}


@family("minimax_m3", "minimax_m3_vl", "minimax_m3_vl_text")
def minimax_m3(fields: Fields) -> Model:
    """The text decoder of MiniMax-M3."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    flatten(fields, count)
    fields.ignore("use_gemma_norm", "use_routing_bias", "index_local_blocks", "num_mtp_modules")
    fields.expect("attention_output_gate", False)
    fields.expect("use_qk_norm", True)
    fields.expect("qk_norm_type", "per_head")
    fields.expect("n_shared_experts", 1)
    attention = Attention(
        **heads(fields, hidden_size, head_dim=128, num_key_value_heads=4), qk_norm="head"
    )
    chooses = fields.sequence("layer_types", length=count) or ["full_attention"] * count
    for kind in chooses:
        if kind not in ("full_attention", "minimax_m3_sparse"):
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    indexed = attention.model_copy(update={"indexer": indexer(fields, hidden_size)})
    experts = MoE(
        num_experts=fields.integer("num_local_experts", "num_experts", default=128),
        num_experts_per_tok=fields.integer("num_experts_per_tok", default=4),
        moe_intermediate_size=agreed(
            fields, "intermediate_size", "moe_intermediate_size", default=3072
        ),
        shared=shared_mlp(fields.integer("shared_intermediate_size", default=3072)),
    )
    mlp = Mlp(intermediate_size=fields.integer("dense_intermediate_size", default=12288))
    if isinstance(fields.config.get("moe_layer_freq"), list):
        flags = fields.sequence("moe_layer_freq", length=count) or []
        fields.derive(mlp_layer_types=["sparse" if flag else "dense" for flag in flags])
    has_experts = sparse_layers(fields, count, Experts(listed=True))
    dense = has_experts.count(False)
    fields.expect("first_k_dense_replace", dense if all(has_experts[dense:]) else None)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer = attention if chooses[index] == "full_attention" else indexed
        return (mixer,), experts if has_experts[index] else mlp, norms

    groups = group_layers(count, layer)
    later = prediction_layers(fields, groups, hidden_size)
    return assemble(fields, groups, hidden_size=hidden_size, tied=False, **later)


def indexer(fields: Fields, hidden_size: int) -> Indexer:
    """One index key per token; blocks of keys are chosen by the best score within each."""
    num_heads = fields.integer("index_n_heads", default=4)
    head_dim = fields.integer("index_head_dim", default=128)
    block = fields.integer("index_block_size", default=128)
    return Indexer(
        num_heads=num_heads,
        head_dim=head_dim,
        topk=block * fields.integer("index_topk_blocks", default=16),
        weights=(
            *linear("indexer.q_proj", num_heads * head_dim, hidden_size),
            *linear("indexer.k_proj", head_dim, hidden_size),
            *norm("indexer.q_norm", head_dim),
            *norm("indexer.k_norm", head_dim),
        ),
    )


def flatten(fields: Fields, count: int) -> None:
    """The published `sparse_attention_config` under the names of the reference code."""
    legacy = fields.child("sparse_attention_config")
    if legacy is None:
        return
    legacy.expect("use_sparse_attention", True)
    legacy.ignore("sparse_score_type", "sparse_init_block")
    freq = legacy.sequence("sparse_attention_freq", length=count)
    valueless = legacy.sequence("sparse_disable_index_value", length=count)
    if freq is not None:
        kinds = ["minimax_m3_sparse" if flag else "full_attention" for flag in freq]
        fields.fill(layer_types=kinds)
        if valueless is not None and any(f and not v for f, v in zip(freq, valueless, strict=True)):
            raise legacy.refuse("sparse_disable_index_value", "asks for index values to be stored")
    for name, old in LEGACY.items():
        if old in legacy:
            fields.fill(**{name: legacy.raw(old)})
    legacy.finish()
