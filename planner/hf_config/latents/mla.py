"""Decoders with multi-head latent attention, with or without experts and a sparse indexer.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.errors import ConfigRefused
from planner.hf_config.experts.decoder import sparse_decoder
from planner.hf_config.experts.first_dense_rows import FIRST_DENSE
from planner.hf_config.families import family
from planner.hf_config.latents.compressed import hyper_connection
from planner.hf_config.latents.mla_rows import TRAITS
from planner.hf_config.layers.assembly import Layer, assemble, divided, group_layers
from planner.hf_config.layers.experts import dense_mlp, moe, sparse_layers
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import LatentAttention
from planner.kinds.indexer import Indexer
from planner.model import Model
from planner.tensors import Weight, linear, norm


@family(*TRAITS)
def latent(fields: Fields) -> Model:
    """A decoder of layers with latent attention."""
    model_type = fields.text("model_type")
    if model_type == "deepseek_v2" and not fields.flag("use_mla", default=True):
        return without_latents(fields)
    fields.expect("use_mla", True)
    traits = TRAITS[model_type]
    fields.fill(**traits.defaults)
    for name, value in traits.expects.items():
        fields.expect(name, value)
        fields.settle(name, value)
    fields.aliases.update(traits.aliases)
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    if traits.divides:
        heads = fields.integer("num_attention_heads")
        fields.derive(v_head_dim=divided(fields, hidden_size, heads))
    attention = latent_attention(fields)
    own = indexers(fields, count) if traits.indexer else []
    choose = indexer(fields, hidden_size, attention.q_lora_rank) if traits.indexer else None
    has_experts = [False] * count
    experts = None
    if traits.experts is not None:
        has_experts = sparse_layers(fields, count, traits.experts)
        experts = moe(fields, traits.experts)
    biased = traits.mlp_bias or (traits.experts is not None and bool(traits.experts.mlp_bias))
    bias = biased and fields.flag("mlp_bias", default=False)
    fields.expect("mlp_bias", bias)
    dense = dense_mlp(fields, has_experts, bias=bias)
    norms = norm("layernorm", hidden_size) * 2
    head: tuple[Weight, ...] = ()
    if traits.streams:
        attention = attention.model_copy(update={"extras": gated(attention, hidden_size)})
        streams = fields.integer("hc_mult", default=4)
        for name in ("attn_hc", "ffn_hc"):
            norms += hyper_connection(name, streams, hidden_size, 2 * streams, 2)
        head = hyper_connection("hc_head", streams, hidden_size, streams, 1)
        fields.ignore("hc_eps", "hc_magnitude", "learnable_sink_init")
    behind: tuple[Weight, ...] = ()
    if traits.norm_gates:
        attention = attention.model_copy(update={"extras": gated_query(attention)})
        rank = fields.integer("gated_norm_rank", default=16)
        behind = linear("norm_gate.fc1", rank, hidden_size)
        behind += linear("norm_gate.fc2", hidden_size, rank)
        norms += behind
    fields.ignore("num_key_value_heads", "head_dim", "qk_head_dim")
    sparse_norms = norms + norm("post_mlp_layernorm", hidden_size) * traits.sparse_norms + behind

    def layer(index: int) -> Layer:
        mixer = attention
        if choose is not None:
            chosen = choose if own[index] else choose.model_copy(update={"shared": True})
            mixer = attention.model_copy(update={"indexer": chosen})
        if not has_experts[index]:
            return (mixer,), dense, norms
        return (mixer,), experts, sparse_norms

    groups = group_layers(count, layer)
    return assemble(
        fields,
        groups,
        hidden_size=hidden_size,
        tied=traits.tied,
        extras=head,
        **prediction_layers(fields, groups, hidden_size),
    )


def without_latents(fields: Fields) -> Model:
    """The small DeepSeek-V2 of its vision models: experts, but keys and values as in Llama."""
    for name in ("kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim"):
        fields.expect(name, 0)
    fields.expect("v_head_dim", 0)
    fields.expect("rm_head", False)
    fields.ignore("lm_head")
    return sparse_decoder(fields, FIRST_DENSE["deepseek"])


def gated(attention: LatentAttention, hidden_size: int) -> tuple[Weight, ...]:
    """A learned sink per head, and a projection whose sigmoid scales the heads' outputs."""
    heads = attention.num_attention_heads
    sinks = Weight("sinks", (heads,), "vector", "column")
    return (sinks, *linear("gate_proj", heads * attention.v_head_dim, hidden_size, "column"))


def gated_query(attention: LatentAttention) -> tuple[Weight, ...]:
    """What q_b_proj has beyond a usual one: a gate per output, and twice the inputs for both."""
    rank = attention.q_lora_rank
    if rank is None:
        raise ConfigRefused("q_lora_rank: is null, but the output gate reads the low-rank query")
    gates = attention.num_attention_heads * attention.v_head_dim
    queries = attention.num_attention_heads * attention.head_dim
    gate = linear("q_gate_proj.gate", gates, rank, "column")
    return (*gate, *linear("q_gate_proj.second", queries + gates, rank, "column"))


def latent_attention(fields: Fields, *, least_rope: int = 1) -> LatentAttention:
    """Latent attention under DeepSeek's field names. least_rope 0: keys may have none."""
    bias = fields.flag("attention_bias", default=False)
    return LatentAttention(
        num_attention_heads=fields.integer("num_attention_heads"),
        q_lora_rank=fields.optional("q_lora_rank"),
        kv_lora_rank=fields.integer("kv_lora_rank"),
        qk_nope_head_dim=fields.integer("qk_nope_head_dim"),
        qk_rope_head_dim=fields.integer("qk_rope_head_dim", least=least_rope),
        v_head_dim=fields.integer("v_head_dim"),
        a_bias=bias,
        o_bias=bias,
    )


def indexer(fields: Fields, hidden_size: int, q_lora_rank: int | None) -> Indexer:
    """The indexer of DeepSeek sparse attention (DSA)."""
    if q_lora_rank is None:
        raise fields.refuse("q_lora_rank", "is null, but the indexer reads the low-rank query")
    num_heads = fields.integer("index_n_heads")
    head_dim = fields.integer("index_head_dim")
    return Indexer(
        num_heads=num_heads,
        head_dim=head_dim,
        topk=fields.integer("index_topk"),
        weights=(
            *linear("indexer.wq_b", num_heads * head_dim, q_lora_rank),
            *linear("indexer.wk", head_dim, hidden_size),
            *norm("indexer.k_norm", head_dim, bias=True),
            *linear("indexer.weights_proj", num_heads, hidden_size),
        ),
    )


def indexers(fields: Fields, count: int) -> list[bool]:
    """Whether each layer has an indexer of its own, or reuses the choice of one before it."""
    types = fields.sequence("indexer_types", length=count)
    pattern = fields.raw("index_topk_pattern")
    every = fields.integer("index_topk_freq", default=1)
    offset = fields.integer("index_skip_topk_offset", default=2, least=0)
    fields.ignore("index_share_for_mtp_iteration", "indexer_rope_interleave")
    attention = fields.sequence("layer_types", length=count) or []
    if any(kind != "indexed_attention" for kind in attention):
        raise fields.refuse("layer_types", "names something else than indexed_attention")
    if types is None and pattern is not None:
        if not isinstance(pattern, (str, list)) or len(pattern) != count:
            raise fields.refuse("index_topk_pattern", f"does not describe {count} layers")
        types = [{"F": "full", "S": "shared"}.get(str(kind), kind) for kind in pattern]
    if types is None:
        return [max(i - offset + 1, 0) % every == 0 for i in range(count)]
    for kind in types:
        if kind not in ("full", "shared"):
            raise fields.refuse("indexer_types", f"{short(kind)} is not understood")
    return [kind == "full" for kind in types]
