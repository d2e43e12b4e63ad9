"""LaraMini: gated delta-rule layers between attention with a window and attention without.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads, with_window
from planner.hf_config.layers.experts import Experts, moe
from planner.hf_config.layers.windows import named
from planner.hf_config.reader import Fields
from planner.hf_config.states.delta import LINEAR
from planner.kinds.attention import Attention
from planner.kinds.recurrent import GatedDeltaNet
from planner.model import Mixer, Model
from planner.tensors import norm

SLIDING, FULL = "sliding_attention", "full_attention"
PERIOD = (LINEAR[0], SLIDING, LINEAR[0], FULL, SLIDING)


@family("lara_mini")
def lara_mini(fields: Fields) -> Model:
    """Experts in every layer, and a shared one without a gate."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    bias = fields.flag("attention_bias", default=False)
    window = fields.integer("sliding_window", default=512)
    attention = Attention(
        **heads(fields, hidden_size, head_dim=128, num_key_value_heads=4),
        qkv_bias=bias,
        o_bias=bias,
        qk_norm="head",
    )
    recurrent = GatedDeltaNet(
        num_key_heads=fields.integer("linear_num_key_heads", default=8),
        num_value_heads=fields.integer("linear_num_value_heads", default=16),
        head_k_dim=fields.integer("linear_key_head_dim", default=128),
        head_v_dim=fields.integer("linear_value_head_dim", default=128),
        conv_kernel=fields.integer("linear_conv_kernel_dim", default=4),
    )
    fields.fill(shared_expert_intermediate_size=512)
    experts = moe(fields, Experts(shared_size="shared_expert_intermediate_size"))
    default = [PERIOD[index % len(PERIOD)] for index in range(count)]
    kinds = fields.sequence("layer_types", length=count) or default
    keeps = [None if kind in LINEAR else named(fields, kind, window) for kind in kinds]
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        keep = keeps[index]
        mixer: Mixer = recurrent if keep is None else with_window(attention, keep.window)
        return (mixer,), experts, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=True)
