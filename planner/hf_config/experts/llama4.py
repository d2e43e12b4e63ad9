"""Llama 4: chunked attention, full every fourth layer, experts beside one shared expert.

Source: Llama4TextConfig and Llama4ForCausalLM in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads, with_window
from planner.hf_config.layers.windows import EVERYTHING, Keep, named, rope_layers
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp, MoE
from planner.model import Model
from planner.tensors import norm


@family("llama4_text", "llama4")
def llama4(fields: Fields) -> Model:
    """The text decoder of Llama 4."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.ignore("use_qk_norm")
    bias = fields.flag("attention_bias", default=False)
    attention = Attention(
        **heads(fields, hidden_size, head_dim=128, num_key_value_heads=8),
        qkv_bias=bias,
        o_bias=bias,
    )
    size = fields.integer("intermediate_size", default=8192)
    experts = MoE(
        num_experts=fields.integer("num_local_experts", default=16),
        num_experts_per_tok=fields.integer("num_experts_per_tok", default=1),
        moe_intermediate_size=size,
        shared=Mlp(intermediate_size=size),
    )
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size_mlp", default=16384))
    sparse = expert_layers(fields, count)
    keeps = chunks(fields, count)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer = with_window(attention, keeps[index].window, keeps[index].type)
        return (mixer,), experts if index in sparse else mlp, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)


def expert_layers(fields: Fields, count: int) -> set[int]:
    """Positions of the layers with experts."""
    step = fields.integer("interleave_moe_layer_step", default=1)
    listed = fields.positions("moe_layers")
    if listed is None:
        return set(range(step - 1, count, step))
    if any(index >= count for index in listed):
        raise fields.refuse("moe_layers", "names layers that are not there")
    return set(listed)


def chunks(fields: Fields, count: int) -> list[Keep]:
    """Layers with rotary positions keep a chunk, the others keep everything."""
    size = fields.optional("attention_chunk_size")
    if size is None and not fields.given("attention_chunk_size"):
        size = 8192
    rope = rope_layers(fields, count)
    types = fields.sequence("layer_types", length=count)
    if types is not None:
        fields.fill(attention_chunk_size=8192)
        return [named(fields, kind, None) for kind in types]
    if size is None:
        return [EVERYTHING] * count
    return [Keep(size, "chunked") if has_rope else EVERYTHING for has_rope in rope]
