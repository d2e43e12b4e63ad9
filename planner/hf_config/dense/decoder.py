"""Dense decoders that differ in a few traits only: biases, norms, windows, tying."""

from planner.hf_config.dense.multimodal_rows import TRAITS as MULTIMODAL_TRAITS
from planner.hf_config.dense.odd_rows import TRAITS as ODD_TRAITS
from planner.hf_config.dense.rows import TRAITS as PLAIN_TRAITS
from planner.hf_config.dense.traits import QKNorm, Trait, Traits
from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads, with_window
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.layers.windows import Keep, attention_windows
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import Weight, norm

TRAITS = {**PLAIN_TRAITS, **ODD_TRAITS, **MULTIMODAL_TRAITS}


def holds(fields: Fields, trait: Trait) -> bool:
    """Whether a trait holds for this configuration."""
    return trait if isinstance(trait, bool) else fields.flag(trait[0], default=trait[1])


@family(*TRAITS)
def dense(fields: Fields) -> Model:
    """A decoder of equal layers with the traits of its model type."""
    return decoder(fields, TRAITS[fields.text("model_type")])


def decoder(fields: Fields, traits: Traits, keeps: list[Keep] | None = None) -> Model:
    """A decoder of equal layers with these traits. keeps: its windows where traits do not say."""
    fields.aliases.update(traits.aliases)
    fields.ignore(*traits.ignored)
    for name, allowed in traits.expects.items():
        fields.expect(name, *allowed)
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    attention = attention_of(fields, traits, hidden_size)
    mlp = mlp_of(fields, traits, hidden_size)
    if keeps is None:
        keeps = attention_windows(
            fields, count, traits.windows, window=traits.window, period=traits.period
        )
    left_over = layer_norms(traits, hidden_size, norms_per_layer(fields, traits))
    if traits.layer_extras is not None:
        left_over += traits.layer_extras(hidden_size)

    def layer(index: int) -> Layer:
        keep = keeps[index]
        return (with_window(attention, keep.window, keep.type),), mlp, left_over

    groups = group_layers(count, layer)
    return assemble(
        fields,
        groups,
        hidden_size=hidden_size,
        tied=traits.tied,
        norm_bias=traits.norm == "layer",
        final_norm=traits.norm != "none",
        head_bias=holds(fields, traits.head_bias),
        head_rows=None if traits.head_rows is None else pruned_head(fields, traits.head_rows),
        extras=around_layers(fields, traits, hidden_size),
        **prediction_layers(fields, groups, hidden_size),
    )


def pruned_head(fields: Fields, name: str) -> int | None:
    """Outputs of a head without the last entries of the vocabulary."""
    vocab = fields.integer("vocab_size")
    rows = fields.optional(name)
    if rows is None or rows == vocab:
        return None
    if rows > vocab or fields.flag("tie_word_embeddings", default=False):
        raise fields.refuse(name, f"{rows} is no part of an own head of {vocab}")
    return rows


def around_layers(fields: Fields, traits: Traits, hidden_size: int) -> tuple[Weight, ...]:
    """What stands between the embedding and the first layer."""
    found: tuple[Weight, ...] = ()
    if traits.positions is not None:
        name, default, extra = traits.positions
        rows = fields.integer(name, default=default) + extra
        found += (Weight("embed_positions", (rows, hidden_size), "embedding"),)
    if traits.embedding_norm:
        found += norm("embed_norm", hidden_size, bias=traits.norm == "layer")
    return found


def attention_of(fields: Fields, traits: Traits, hidden_size: int) -> Attention:
    """The attention that every layer has, before windows."""
    qk_norm: QKNorm
    if isinstance(traits.qk_norm, tuple):
        name, kind = traits.qk_norm
        qk_norm = kind if fields.flag(name, default=traits.qk_norm_default) else "none"
    else:
        qk_norm = traits.qk_norm
    sizes = heads(
        fields,
        hidden_size,
        head_dim=traits.head_dim,
        num_key_value_heads=traits.num_key_value_heads,
        divides=traits.divides,
    )
    if traits.multi_head and sizes["num_key_value_heads"] != sizes["num_attention_heads"]:
        raise fields.refuse(
            "num_key_value_heads", "is given, but every query head of this model type has its own"
        )
    attention = Attention(
        **sizes,
        qkv_bias=holds(fields, traits.qkv_bias),
        o_bias=holds(fields, traits.o_bias),
        qk_norm=qk_norm,
        qk_norm_bias=traits.qk_norm_bias,
    )
    if traits.attention_extras is None:
        return attention
    extras = traits.attention_extras(attention, hidden_size)
    return attention.model_copy(update={"extras": extras})


def mlp_of(fields: Fields, traits: Traits, hidden_size: int) -> Mlp:
    """The feed-forward part that every layer has."""
    default = None if traits.inner_multiple is None else traits.inner_multiple * hidden_size
    inner = fields.integer("intermediate_size", default=default)
    if default is not None and inner != default and traits.inner_name not in fields:
        given = next(n for n in fields.names_of("intermediate_size") if n in fields)
        raise fields.refuse(given, f"{inner} is not {default}, which this model type always uses")
    return Mlp(
        intermediate_size=inner,
        gated=traits.gated,
        bias=holds(fields, traits.mlp_bias),
        extras=() if traits.mlp_extras is None else traits.mlp_extras(hidden_size, inner),
    )


def norms_per_layer(fields: Fields, traits: Traits) -> int:
    """How many norms of hidden_size a layer has."""
    if traits.other_norms is None:
        return traits.norms_per_layer
    name, default, other = traits.other_norms
    return other if fields.flag(name, default=default) else traits.norms_per_layer


def layer_norms(traits: Traits, hidden_size: int, count: int | None = None) -> tuple[Weight, ...]:
    """The norms around one layer's parts, as many as the family has unless count says."""
    if traits.norm == "none":
        return ()
    one = norm("layer_norm", hidden_size, bias=traits.norm == "layer")
    return one * (traits.norms_per_layer if count is None else count)
