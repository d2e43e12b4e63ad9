"""ModernBERT as a decoder: every third layer without a window, and a transform before the head.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, divided, group_layers, with_window
from planner.hf_config.layers.windows import EVERYTHING, Keep, named
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import Weight, linear, norm


@family("modernbert-decoder")
def modernbert(fields: Fields) -> Model:
    """A window is half of local_attention; the first layer reads the embedding's own norm."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    heads = fields.integer("num_attention_heads")
    fields.ignore("initializer_cutoff_factor", "classifier_activation")
    fields.ignore("global_rope_theta", "local_rope_theta", "embedding_norm", "sparse_prediction")
    bias = fields.flag("attention_bias", default=False)
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=divided(fields, hidden_size, heads),
        qkv_bias=bias,
        o_bias=bias,
    )
    mlp_bias = fields.flag("mlp_bias", default=False)
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size"), bias=mlp_bias)
    shift = fields.flag("norm_bias", default=False)
    one = norm("norm", hidden_size, bias=shift)
    window = fields.integer("local_attention", default=128, least=2) // 2
    fields.expect("sliding_window", window)
    every = fields.integer("global_attn_every_n_layers", default=3)
    types = fields.sequence("layer_types", length=count)
    keeps = [Keep(window) if index % every else EVERYTHING for index in range(count)]
    if types is not None:
        keeps = [named(fields, kind, window) for kind in types]

    def layer(index: int) -> Layer:
        return (with_window(attention, keeps[index].window),), mlp, one * (2 if index else 1)

    rows = fields.integer("vocab_size")
    biased = fields.flag("classifier_bias", default=False)
    extras = (*one, *linear("head.dense", hidden_size, hidden_size, bias=biased), *one)
    if fields.flag("decoder_bias", default=True):
        extras += (Weight("lm_head.bias", (rows,), "bias", "vocab"),)
    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=True,
        norm_bias=shift,
        extras=extras,
    )
