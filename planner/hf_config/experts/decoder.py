"""Decoders with softmax attention and routed experts, which differ in a few traits only."""

from collections.abc import Callable

from planner.hf_config.dense.decoder import attention_of, holds, layer_norms
from planner.hf_config.experts.rows import TRAITS
from planner.hf_config.experts.slides import typed_windows
from planner.hf_config.experts.traits import Sparse
from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, with_window
from planner.hf_config.layers.experts import moe, sparse_layers
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.layers.windows import Keep, attention_windows
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import Model

Adjust = Callable[[Attention, int, Keep], Attention]
"""The attention of one layer, from what all have, its position and what it keeps."""


@family(*TRAITS)
def sparse(fields: Fields) -> Model:
    """A decoder whose layers have experts, all or some of them."""
    return sparse_decoder(fields, TRAITS[fields.text("model_type")])


def sparse_decoder(fields: Fields, traits: Sparse, adjust: Adjust | None = None) -> Model:
    """A decoder of these traits; adjust changes the attention of single layers."""
    fields.fill(**traits.defaults)
    fields.derive(**{k: value for k, value in traits.defaults.items() if isinstance(value, list)})
    fields.aliases.update(traits.aliases)
    fields.ignore("intermediate_size", *traits.ignored)
    for name in traits.zero:
        fields.expect(name, 0)
    for name in traits.needs:
        if not fields.given(name):
            raise fields.refuse(name, "is missing, and the model cannot be sized without it")
    for name, allowed in traits.expects.items():
        fields.expect(name, *allowed)
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.expect("attn_type_list", [1] * count)
    attention = attention_of(fields, traits, hidden_size)
    has_experts = sparse_layers(fields, count, traits.experts)
    experts = moe(fields, traits.experts)
    dense = None
    if not all(has_experts):
        dense = Mlp(
            intermediate_size=fields.integer(traits.dense_size),
            gated=traits.gated,
            bias=holds(fields, traits.mlp_bias),
        )
    if traits.slides is not None:
        keeps = typed_windows(fields, count, traits.window, traits.slides)
    else:
        keeps = attention_windows(
            fields, count, traits.windows, window=traits.window, period=traits.period
        )
    norms = layer_norms(traits, hidden_size)

    def layer(index: int) -> Layer:
        keep = keeps[index]
        mixer = attention if adjust is None else adjust(attention, index, keep)
        mixer = with_window(mixer, keep.window, keep.type)
        return (mixer,), experts if has_experts[index] else dense, norms

    groups = group_layers(count, layer)
    return assemble(
        fields,
        groups,
        hidden_size=hidden_size,
        tied=traits.tied,
        norm_bias=traits.norm == "layer",
        head_bias=holds(fields, traits.head_bias),
        **prediction_layers(fields, groups, hidden_size),
    )
