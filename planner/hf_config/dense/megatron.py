"""Families that kept Megatron's field names: ChatGLM, the first Qwen, TeleChat.

Source: the modeling file published beside each family's weights.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import assemble, divided, group_layers
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import Model
from planner.tensors import Weight, norm


@family("chatglm")
def chatglm(fields: Fields) -> Model:
    """ChatGLM2, ChatGLM3 and the first form of GLM-4: KV heads are multi_query_group_num."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_layers", "num_hidden_layers")
    query_heads = fields.integer("num_attention_heads")
    head_dim = fields.integer("kv_channels", default=128)
    if head_dim * query_heads != hidden_size:
        raise fields.refuse("kv_channels", "times num_attention_heads is not hidden_size")
    kv_heads = query_heads
    if fields.flag("multi_query_attention", default=False):
        kv_heads = fields.integer("multi_query_group_num", default=1)
    else:
        fields.ignore("multi_query_group_num")
    if query_heads % kv_heads:
        raise fields.refuse("multi_query_group_num", f"{kv_heads} does not divide {query_heads}")
    bias = fields.flag("add_bias_linear", default=True)
    attention = Attention(
        num_attention_heads=query_heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        qkv_bias=fields.flag("add_qkv_bias", default=False) or bias,
        o_bias=bias,
    )
    mlp = Mlp(intermediate_size=fields.integer("ffn_hidden_size"), bias=bias)
    shift = not fields.flag("rmsnorm", default=True)
    norms = norm("layer_norm", hidden_size, bias=shift) * 2
    fields.expect("prefix_projection", False)
    fields.ignore(
        "vocab_size",
        "apply_query_key_layer_scaling",
        "apply_residual_connection_post_layernorm",
        "attention_softmax_in_fp32",
        "bias_dropout_fusion",
        "fp32_residual_connection",
        "interleaved_qkv",
        "original_rope",
    )
    fields.expect("quantization_bit", 0)
    return assemble(
        fields,
        group_layers(count, lambda index: ((attention,), mlp, norms)),
        hidden_size=hidden_size,
        vocab_size=fields.integer("padded_vocab_size"),
        tied=False,
        norm_bias=shift,
        final_norm=fields.flag("post_layer_norm", default=True),
        head_bias=bias,
    )


@family("qwen")
def qwen(fields: Fields) -> Model:
    """The first Qwen: intermediate_size counts gate and up together."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    heads = fields.integer("num_attention_heads")
    head_dim = divided(fields, hidden_size, heads)
    fields.expect("kv_channels", head_dim)
    fields.expect("num_key_value_heads", heads)
    both = fields.integer("intermediate_size")
    if both % 2:
        raise fields.refuse("intermediate_size", f"{both} is odd, but holds two equal halves")
    bias = not fields.flag("no_bias", default=True)
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=head_dim,
        qkv_bias=True,
        o_bias=bias,
    )
    mlp = Mlp(intermediate_size=both // 2, bias=bias)
    norms = norm("layer_norm", hidden_size) * 2
    fields.expect("use_cache_quantization", False)
    fields.ignore(
        "bf16", "fp16", "fp32", "onnx_safe", "softmax_in_fp32", "use_cache_kernel",
    )  # fmt: skip
    return assemble(
        fields,
        group_layers(count, lambda index: ((attention,), mlp, norms)),
        hidden_size=hidden_size,
        tied=False,
    )


@family("telechat")
def telechat(fields: Fields) -> Model:
    """TeleChat and TeleChat2: biases on the two output projections only."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("n_layer", "num_hidden_layers")
    query_heads = fields.integer("n_head", "num_attention_heads")
    kv_heads = fields.integer("num_key_value_heads", default=query_heads)
    if query_heads % kv_heads:
        raise fields.refuse("num_key_value_heads", f"{kv_heads} does not divide {query_heads}")
    attention = Attention(
        num_attention_heads=query_heads,
        num_key_value_heads=kv_heads,
        head_dim=divided(fields, hidden_size, query_heads),
        o_bias=True,
    )
    mlp = Mlp(
        intermediate_size=fields.integer("ffn_hidden_size", "intermediate_size"),
        extras=(Weight("down_proj.bias", (hidden_size,), "bias"),),
    )
    norms = norm("layer_norm", hidden_size) * 2
    fields.expect("embed_layernorm", False)
    fields.ignore(
        "apply_residual_connection_post_layernorm", "base_seqlen", "bias_dropout_fusion",
        "flash_attn", "logn", "masked_softmax_fusion", "training_seqlen",
    )  # fmt: skip
    return assemble(
        fields,
        group_layers(count, lambda index: ((attention,), mlp, norms)),
        hidden_size=hidden_size,
        tied=False,
    )
