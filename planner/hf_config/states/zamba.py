"""Zamba and Zamba2: Mamba layers, and a few transformer blocks that many layers share.

A shared block is stored once and counted among the model's extras. The layers that run it keep a
cache each, and hold only a projection behind it and (Zamba2) low-rank adapters.
Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.reader import Fields, short
from planner.hf_config.states.mamba import HARMLESS, rank
from planner.kinds.attention import Attention
from planner.kinds.recurrent import Mamba1, Mamba2
from planner.model import Model
from planner.tensors import Weight, linear, norm

MAMBA = ("mamba", "linear_attention")
ZAMBA2_DEFAULT = (
    ["mamba"] + (["mamba"] * 5 + ["hybrid"]) * 7
    + ["mamba"] * 4 + ["hybrid"] + ["mamba"] * 3 + ["hybrid"] + ["mamba"] * 2
)  # fmt: skip


@family("zamba")
def zamba(fields: Fields) -> Model:
    """Mamba layers; those called hybrid first run the one shared block."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore(*HARMLESS, "hidden_mamba_act")
    shares_blocks(fields)
    period = fields.integer("attn_layer_period", default=6)
    offset = fields.integer("attn_layer_offset", default=4, least=0)
    later = [index % period == offset for index in range(count - 3)]
    kinds = layer_kinds(fields, count, [False, False, True, *later][:count])
    heads = fields.integer("num_attention_heads")
    width = fields.integer("attention_hidden_size", default=2 * hidden_size)
    head_dim = fields.integer("attention_head_dim", default=2 * hidden_size // heads)
    kv_heads = fields.integer("num_key_value_heads", default=16)
    inner = fields.integer("mamba_expand", default=2) * hidden_size
    parts = fields.integer("n_mamba_heads", default=2)
    if inner % parts:
        raise fields.refuse("n_mamba_heads", f"{parts} does not divide the inner size {inner}")
    mamba = Mamba1(
        intermediate_size=inner,
        state_size=fields.integer("mamba_d_state", default=16),
        conv_kernel=fields.integer("mamba_d_conv", default=4),
        time_step_rank=rank(fields, "mamba_dt_rank", hidden_size),
        conv_bias=fields.flag("mamba_conv_bias", default=True),
        proj_bias=fields.flag("mamba_proj_bias", default=False),
    )
    size = fields.integer("intermediate_size", default=14848)
    shared = shared_projections(hidden_size, width, heads * head_dim, kv_heads * head_dim, kv_heads)
    for name in ("gate_proj", "up_proj"):
        shared += linear(f"shared.{name}", size, hidden_size, "column")
    shared += linear("shared.down_proj", hidden_size, size, "row")
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        projections=False,
        extras=linear("linear", hidden_size, hidden_size),
    )
    one = norm("input_layernorm", hidden_size)

    def layer(index: int) -> Layer:
        return ((attention, mamba) if kinds[index] else (mamba,)), None, one

    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=True,
        extras=shared if any(kinds) else (),
    )


@family("zamba2")
def zamba2(fields: Fields) -> Model:
    """Mamba-2 layers; those called hybrid first run one of num_mem_blocks shared blocks in turn."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore(*HARMLESS, "use_mem_eff_path", "use_mem_rope", "use_long_context", "kv_channels")
    fields.ignore("num_query_groups", "conv_dimension", "gated_linear_unit")
    fields.ignore("ffn_hidden_size", "state_size", "sliding_window", "ft_lora")
    fields.expect("use_shared_block_lora", True)
    fields.expect("use_shared_mlp_adapter", True)
    shares_blocks(fields)
    default = [kind == "hybrid" for kind in ZAMBA2_DEFAULT]
    kinds = layer_kinds(fields, count, default)
    fields.expect("hybrid_layer_ids", [index for index, kind in enumerate(kinds) if kind])
    mamba = zamba2_mamba(fields, hidden_size)
    heads = fields.integer("num_attention_heads")
    kv_heads = fields.integer("num_key_value_heads", default=heads)
    width = 2 * hidden_size
    fields.expect("attention_hidden_size", width)
    fields.expect("attention_head_dim", width // heads)
    head_dim = width // heads
    size = fields.integer("intermediate_size", default=4 * hidden_size)
    bias = fields.flag("add_bias_linear", default=False)
    low = fields.integer("adapter_rank", default=128)
    adapted = fields.flag("use_shared_attention_adapter", default=False)
    fields.expect("lora_rank", low)
    fields.expect("use_shared_attention_lora", adapted)
    adapters = linear("linear", hidden_size, hidden_size)
    adapters += linear("gate_up_adapter.0", low, hidden_size)
    adapters += linear("gate_up_adapter.1", 2 * size, low, "column")
    if adapted:
        for name in ("q", "k", "v"):
            adapters += linear(f"{name}_adapter.0", low, width)
            adapters += linear(f"{name}_adapter.1", width, low, "column")
    shared = shared_projections(hidden_size, width, heads * head_dim, kv_heads * head_dim, kv_heads)
    shared += linear("shared.gate_up_proj", 2 * size, hidden_size, "column", bias=bias)
    shared += linear("shared.down_proj", hidden_size, size, "row", bias=bias)
    blocks = min(fields.integer("num_mem_blocks", default=1), sum(kinds))
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        projections=False,
        extras=adapters,
    )
    one = norm("input_layernorm", hidden_size)

    def layer(index: int) -> Layer:
        return ((attention, mamba) if kinds[index] else (mamba,)), None, one

    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=True,
        extras=shared * blocks,
    )


def zamba2_mamba(fields: Fields, hidden_size: int) -> Mamba2:
    """The Mamba-2 part of every layer."""
    fields.ignore("use_conv_bias")  # the class has the bias whatever this says
    inner = fields.integer("mamba_expand", default=2) * hidden_size
    num_heads = fields.integer("n_mamba_heads", default=8)
    head_dim = inner // num_heads
    fields.expect("mamba_headdim", head_dim)
    if num_heads * head_dim != inner:
        raise fields.refuse("n_mamba_heads", f"{num_heads} does not divide the inner size {inner}")
    return Mamba2(
        num_heads=num_heads,
        head_dim=head_dim,
        state_size=fields.integer("mamba_d_state", default=64),
        n_groups=fields.integer("mamba_ngroups", default=1),
        conv_kernel=fields.integer("mamba_d_conv", default=4),
        conv_bias=True,
        proj_bias=fields.flag("add_bias_linear", default=False),
    )


def shares_blocks(fields: Fields) -> None:
    """Refuse what would store the shared blocks once per layer in one implementation only."""
    if not fields.flag("tie_word_embeddings", default=True):
        raise fields.refuse(
            "tie_word_embeddings",
            "is false, and then transformers also stores a shared block once per layer that runs "
            "it, where others store it once",
        )


def shared_projections(
    hidden_size: int, width: int, queries: int, keys: int, kv_heads: int
) -> tuple[Weight, ...]:
    """Attention and norms of a shared block, which reads hidden states and embeddings at once."""
    return (
        *linear("shared.q_proj", queries, width, "column"),
        *linear("shared.k_proj", keys, width, "kv", kv_heads=kv_heads),
        *linear("shared.v_proj", keys, width, "kv", kv_heads=kv_heads),
        *linear("shared.o_proj", hidden_size, queries, "row"),
        *norm("shared.input_layernorm", width),
        *norm("shared.pre_ff_layernorm", hidden_size),
    )


def layer_kinds(fields: Fields, count: int, default: list[bool]) -> list[bool]:
    """Whether each layer runs a shared block: `layers_block_type`, or the family's pattern."""
    types = fields.sequence("layers_block_type", length=count)
    if types is None:
        if len(default) != count:
            raise fields.refuse("layers_block_type", "is missing, so the layers are unknown")
        return default
    for kind in types:
        if kind != "hybrid" and kind not in MAMBA:
            raise fields.refuse("layers_block_type", f"{short(kind)} is not understood here")
    return [kind == "hybrid" for kind in types]
