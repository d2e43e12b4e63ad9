"""Mistral Large 4: latent attention, whose latents and whose choice of keys layers may share.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from planner.hf_config.families import family
from planner.hf_config.latents.mla import indexers, latent_attention
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.layers.experts import Experts, dense_mlp, moe, sparse_layers
from planner.hf_config.layers.windows import rope_layers
from planner.hf_config.reader import Fields
from planner.kinds.attention import LatentAttention
from planner.kinds.indexer import Indexer
from planner.model import Model
from planner.tensors import Weight, linear, norm


@family("mistral_large4_text")
def mistral_large4(fields: Fields) -> Model:
    """Layers without rotary positions keep no rotary part of a key; queries are not low-rank."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.fill(n_shared_experts=1, first_k_dense_replace=1)
    fields.ignore("num_key_value_heads", "head_dim", "qk_head_dim")
    fields.expect("q_lora_rank", None)
    fields.expect("partial_rotary_factor", 1.0)
    rope = fields.child("rope_parameters")
    if rope is not None:
        rope.expect("partial_rotary_factor", 1.0)
    rotary = latent_attention(fields).model_copy(update={"q_lora_rank": None})
    rotary = rotary.model_copy(update={"extras": scaling("attn", rotary.num_attention_heads)})
    still = rotary.model_copy(update={"qk_nope_head_dim": rotary.head_dim, "qk_rope_head_dim": 0})
    has_rope = rope_layers(fields, count)
    own = indexers(fields, count)
    sources = latent_sources(fields, count)
    chooser = indexer(fields, hidden_size)
    traits = Experts(where="first", listed=True, shared=True)
    has_experts = sparse_layers(fields, count, traits)
    experts = moe(fields, traits)
    mlp = dense_mlp(fields, has_experts)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: LatentAttention = rotary if has_rope[index] else still
        mixer = mixer.model_copy(
            update={
                "indexer": chooser.model_copy(update={"shared": not own[index]}),
                "shares_cache": sources[index] != index,
            }
        )
        return (mixer,), experts if has_experts[index] else mlp, norms

    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=False,
        extras=(Weight("rotary_emb.alpha", (rotary.qk_rope_head_dim // 2,), "vector"),),
    )


def latent_sources(fields: Fields, count: int) -> list[int]:
    """The layer whose latents each layer reads, itself where it stores its own."""
    sources = fields.positions("kv_source_layers")
    if sources is None:
        return list(range(count))
    if len(sources) != count:
        raise fields.refuse("kv_source_layers", f"has {len(sources)} entries for {count} layers")
    for index, source in enumerate(sources):
        if source > index or sources[source] != source:
            raise fields.refuse(
                "kv_source_layers", f"sends layer {index} to {source}, which stores no latents"
            )
    return sources


def scaling(name: str, heads: int) -> tuple[Weight, ...]:
    """A learned temperature of the softmax: a scale and a shift per head."""
    parts = ("scale", "bias")
    return tuple(Weight(f"{name}.softmax_scaling.{p}", (heads,), "vector") for p in parts)


def indexer(fields: Fields, hidden_size: int) -> Indexer:
    """An indexer that reads the normalised hidden state, as queries are not low-rank."""
    heads = fields.integer("index_n_heads", default=32)
    head_dim = fields.integer("index_head_dim", default=128)
    return Indexer(
        num_heads=heads,
        head_dim=head_dim,
        topk=fields.integer("index_topk", default=2048),
        weights=(
            *linear("indexer.wq_b", heads * head_dim, hidden_size),
            *linear("indexer.wk", head_dim, hidden_size),
            *norm("indexer.k_norm", head_dim, bias=True),
            *linear("indexer.weights_proj", heads, hidden_size),
            *norm("indexer.q_input_norm", hidden_size, bias=True),
            *scaling("indexer", heads),
        ),
    )
