"""DeepSeek-V4: compressed attention, hyper-connections and hashed experts.

Source: DeepseekV4Config and DeepseekV4ForCausalLM in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.layers.experts import NUM_SHARED, agreed, shared_mlp
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.compressed import CompressedAttention, Compressor
from planner.kinds.mlp import MoE
from planner.model import Model
from planner.tensors import Weight, norm

CSA, HCA = "compressed_sparse_attention", "heavily_compressed_attention"
RATIOS = {0: "sliding_attention", 4: CSA, 128: HCA}
DSPARK = (
    "dspark_target_layer_ids", "dspark_markov_rank", "dspark_n_routed_experts",
    "dspark_num_experts_per_tok",
)  # fmt: skip
STAGES = (
    "The stages of DSpark (dspark_block_size), which draft in place of multi-token-prediction "
    "layers, are not counted."
)


@family("deepseek_v4", "deepseek_ref")
def deepseek_v4(fields: Fields) -> Model:
    """The decoder of DeepSeek-V4, which files of its reference code name deepseek_ref."""
    fields.settle("model_type", "deepseek_v4")
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("hc_sinkhorn_iters", "hc_eps", "num_hash_layers", "qk_rope_head_dim")
    fields.ignore("compress_rope_theta", "partial_rotary_factor", "mlp_layer_types")
    fields.expect("num_key_value_heads", 1)
    fields.expect("attention_bias", False)
    for name in NUM_SHARED:
        fields.expect(name, 1)
    mlp_bias = fields.flag("mlp_bias", default=False)
    attentions = {kind: attention(fields, kind) for kind in RATIOS.values()}
    kinds = layer_kinds(fields, count)
    size = fields.integer("moe_intermediate_size")
    experts = MoE(
        num_experts=agreed(fields, "n_routed_experts", "num_local_experts"),
        num_experts_per_tok=fields.integer("num_experts_per_tok"),
        moe_intermediate_size=size,
        shared=shared_mlp(size, bias=mlp_bias),
    )
    streams = fields.integer("hc_mult", default=4)
    norms = norm("layernorm", hidden_size) * 2
    norms += hyper_connection("attn_hc", streams, hidden_size, (2 + streams) * streams, 3)
    norms += hyper_connection("ffn_hc", streams, hidden_size, (2 + streams) * streams, 3)

    def layer(index: int) -> Layer:
        return (attentions[kinds[index]],), experts, norms

    groups = group_layers(count, layer)
    later = prediction_layers(fields, groups, hidden_size)
    if fields.optional("dspark_block_size") is not None:
        fields.ignore(*DSPARK)
        later = {"notes": (STAGES,)}
    return assemble(
        fields,
        groups,
        hidden_size=hidden_size,
        tied=False,
        extras=hyper_connection("hc_head", streams, hidden_size, streams, 1),
        **later,
    )


def hyper_connection(
    name: str, streams: int, hidden_size: int, mixes: int, scales: int
) -> tuple[Weight, ...]:
    """The mixing of parallel residual streams: a projection of all of them, bases and scales."""
    return (
        Weight(f"{name}.fn", (mixes, streams * hidden_size), "vector"),
        Weight(f"{name}.base", (mixes,), "vector"),
        Weight(f"{name}.scale", (scales,), "vector"),
    )


def attention(fields: Fields, kind: str) -> CompressedAttention:
    """The attention of a layer of this kind."""
    rates = fields.child("compress_rates")
    csa = fields.integer("compress_rate_csa", default=4)
    hca = fields.integer("compress_rate_hca", default=128)
    if rates is not None:
        csa, hca = rates.integer(CSA, default=csa), rates.integer(HCA, default=hca)
        rates.finish()
    compressor = None
    if kind == HCA:
        compressor = Compressor(compress_rate=hca)
    elif kind == CSA:
        compressor = Compressor(
            compress_rate=csa,
            overlap=True,
            index_n_heads=fields.integer("index_n_heads", default=64),
            index_head_dim=fields.integer("index_head_dim", default=128),
            index_topk=fields.integer("index_topk", default=512),
        )
    heads = fields.integer("num_attention_heads")
    groups = fields.integer("o_groups", default=8)
    if heads % groups:
        raise fields.refuse("o_groups", f"{groups} does not divide the {heads} heads")
    return CompressedAttention(
        num_attention_heads=heads,
        head_dim=fields.integer("head_dim", default=512),
        q_lora_rank=fields.integer("q_lora_rank", default=1024),
        o_groups=groups,
        o_lora_rank=fields.integer("o_lora_rank", default=1024),
        window=fields.integer("sliding_window", default=128),
        compressor=compressor,
    )


def layer_kinds(fields: Fields, count: int) -> list[str]:
    """What each layer is: `layer_types`, or compress_ratios (0, 4 or 128, MTP layers last)."""
    types = fields.sequence("layer_types")
    ratios = fields.sequence("compress_ratios")
    if types is None and ratios is None:
        raise fields.refuse("compress_ratios", "is missing, so the layers are unknown")
    if types is None:
        for ratio in ratios or []:
            if not isinstance(ratio, int) or ratio not in RATIOS:
                raise fields.refuse("compress_ratios", f"{short(ratio)} is none of 0, 4 and 128")
        types = [RATIOS[ratio] for ratio in ratios or []]
    if len(types) < count:
        raise fields.refuse("compress_ratios", f"names {len(types)} of {count} layers")
    for kind in types:
        if kind not in RATIOS.values():
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    return types[:count]
