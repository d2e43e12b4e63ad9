"""Decoders that mix gated delta-rule layers with full attention: Qwen3-Next and Qwen3.5.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads
from planner.hf_config.layers.experts import Experts, dense_mlp, moe, sparse_layers
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.kinds.recurrent import GatedDeltaNet
from planner.model import Mixer, Model
from planner.tensors import norm

LINEAR = ("linear_attention",)
FULL = ("full_attention", "attention")


@family("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text")
def delta(fields: Fields) -> Model:
    """Three gated delta-rule layers, then one of gated full attention, and so on."""
    dense = fields.text("model_type") in ("qwen3_5", "qwen3_5_text")
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    linear = linear_layers(fields, count)
    bias = fields.flag("attention_bias", default=False)
    fields.expect("attn_output_gate", True)
    fields.expect("use_sliding_window", False)
    fields.expect("mamba_ssm_dtype", "float32")
    fields.ignore("output_gate_type")
    attention = Attention(
        **heads(fields, hidden_size, head_dim=256, num_key_value_heads=4 if dense else 2),
        qkv_bias=bias,
        o_bias=bias,
        qk_norm="head",
        output_gate=True,
    )
    recurrent = GatedDeltaNet(
        num_key_heads=fields.integer("linear_num_key_heads"),
        num_value_heads=fields.integer("linear_num_value_heads"),
        head_k_dim=fields.integer("linear_key_head_dim"),
        head_v_dim=fields.integer("linear_value_head_dim"),
        conv_kernel=fields.integer("linear_conv_kernel_dim", default=4),
    )
    has_experts = [False] * count
    experts = None
    if not dense:
        fields.fill(shared_expert_intermediate_size=512)
        traits = Experts(
            where="step", shared_size="shared_expert_intermediate_size", shared_gate=True
        )
        has_experts = sparse_layers(fields, count, traits)
        experts = moe(fields, traits)
    mlp = dense_mlp(fields, has_experts)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: Mixer = recurrent if linear[index] else attention
        return (mixer,), experts if has_experts[index] else mlp, norms

    groups = group_layers(count, layer)
    return assemble(
        fields,
        groups,
        hidden_size=hidden_size,
        tied=False,
        **prediction_layers(fields, groups, hidden_size),
    )


def linear_layers(
    fields: Fields, count: int, *, interval: int = 4, also: tuple[str, ...] = ()
) -> list[bool]:
    """Whether each layer is linear: `layer_types`, or all but each full_attention_interval-th.

    also: other names for the layers that are not.
    """
    every = fields.integer("full_attention_interval", default=interval)
    types = fields.sequence("layer_types", length=count)
    if types is None:
        return [(index + 1) % every != 0 for index in range(count)]
    for kind in types:
        if kind not in LINEAR + FULL + also:
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    return [kind in LINEAR for kind in types]


@family("olmo_hybrid")
def olmo_hybrid(fields: Fields) -> Model:
    """Three gated delta-rule layers, then one of full attention with norms behind its parts."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    bias = fields.flag("attention_bias", default=False)
    sizes = heads(fields, hidden_size)
    attention = Attention(**sizes, qkv_bias=bias, o_bias=bias, qk_norm="width")
    own = sizes["num_attention_heads"]
    key_heads = fields.integer("linear_num_key_heads", default=own)
    key_dim = fields.integer("linear_key_head_dim", default=3 * hidden_size // (4 * key_heads))
    recurrent = GatedDeltaNet(
        num_key_heads=key_heads,
        num_value_heads=fields.integer("linear_num_value_heads", default=own),
        head_k_dim=key_dim,
        head_v_dim=fields.integer("linear_value_head_dim", default=2 * key_dim),
        conv_kernel=fields.integer("linear_conv_kernel_dim", default=4),
    )
    fields.ignore("linear_a_log_min", "linear_a_log_max", "linear_dt_min", "linear_dt_max")
    fields.ignore("linear_dt_init_floor", "linear_allow_neg_eigval", "linear_use_gate")
    fields.expect("full_attention_interval", 4)
    linear = linear_layers(fields, count)
    if all(linear):
        raise fields.refuse("layer_types", "names no layer of full attention")
    mlp = Mlp(intermediate_size=fields.integer("intermediate_size"))
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        mixer: Mixer = recurrent if linear[index] else attention
        return (mixer,), mlp, norms

    return assemble(fields, group_layers(count, layer), hidden_size=hidden_size, tied=False)
