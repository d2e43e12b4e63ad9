"""LongCat-Flash: two attentions and two dense parts a layer, and experts beside the second two.

Some experts are identities: the router knows them, and a checkpoint holds nothing for them.
transformers 5.24 allocates gate_proj and up_proj for them nevertheless and never reads those rows.
LongCat-Flash-Chat would have 741 billion parameters with them; its report (arXiv 2509.01322) says
560, which is what is counted here. SGLang 0.5 allocates the routed experts alone.

LongCat-Flash-Lite (longcat_flash_ngram) adds to each token's embedding what it finds for the last
2 to `emb_neighbor_num` tokens in `emb_split_num` hashed tables for each length.

Sources: the reference implementation in Hugging Face transformers 5.24; for the tables mlx-lm
0.32, models/longcat_flash_ngram, and SGLang 0.5.23, which splits them by their rows.
"""

from planner.hf_config.families import family
from planner.hf_config.latents.mla import latent_attention
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.layers.experts import Experts, moe
from planner.hf_config.reader import Fields
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import Weight, linear, norm

IDLE = (
    "Some of the experts that a token is sent to may only pass it on: the active parameters are "
    "the most that can work on one."
)


LOOKED_UP = (
    "The active parameters hold the tables of n-grams whole, though a token reads one row of each."
)
MOST_TABLES = 1024


@family("longcat_flash", "longcat_flash_ngram")
def longcat_flash(fields: Fields) -> Model:
    """`num_layers` layers, each with the parts of two; some experts are identities."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_layers")
    fields.expect("num_hidden_layers", 2 * count)
    fields.expect("attention_method", "MLA")
    fields.expect("zero_expert_type", "identity")
    fields.expect("router_bias", False)
    fields.fill(q_lora_rank=1536)
    fields.ignore("num_key_value_heads", "head_dim", "qk_head_dim")
    fields.ignore("mla_scale_q_lora", "mla_scale_kv_lora")
    attention = latent_attention(fields)
    if attention.q_lora_rank is None:
        raise fields.refuse("q_lora_rank", "is null, but this model type's queries are low-rank")
    dense = Mlp(intermediate_size=fields.integer("ffn_hidden_size", "intermediate_size"))
    experts = moe(fields, Experts(size="expert_ffn_hidden_size"))
    idle = fields.integer("zero_expert_num", default=256, least=0)
    routes = linear("identity_router", idle, hidden_size, role="router") if idle else ()
    experts = experts.model_copy(
        update={"shared": dense, "extras": (*routes, *dense.weights(hidden_size))}
    )
    norms = norm("layernorm", hidden_size) * 4

    def layer(_: int) -> Layer:
        return (attention, attention), experts, norms

    tables = _tables(fields, hidden_size)
    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=False,
        extras=tables,
        notes=(*((IDLE,) if idle else ()), *((LOOKED_UP,) if tables else ())),
    )


def _tables(fields: Fields, hidden_size: int) -> tuple[Weight, ...]:
    """The embeddings of n-grams, each a little larger than the last, and their projections."""
    if fields.text("model_type") != "longcat_flash_ngram":
        return ()
    lengths = fields.integer("emb_neighbor_num", "oe_neighbor_num", default=4, least=2) - 1
    tables = lengths * fields.integer("emb_split_num", "oe_split_num", default=4)
    ratio = fields.integer("ngram_vocab_size_ratio", "oe_vocab_size_ratio", default=78)
    rows = ratio * fields.integer("vocab_size")
    width = hidden_size // tables
    if not width or tables > MOST_TABLES:
        raise fields.refuse("emb_split_num", f"asks for {tables:,} tables, more than fit")
    return tuple(
        Weight(f"ngram.{index}", (rows + 2 * index + 1, width), "embedding", "vocab")
        for index in range(tables)
    ) + linear("ngram_proj", hidden_size, width, copies=tables)
