"""Inkling: attention with relative positions, and convolutions behind keys, values and residuals.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.layers.experts import Experts, dense_mlp, moe, sparse_layers
from planner.hf_config.layers.mtp import prediction_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.convolution import ResidualConvolutions
from planner.model import Model
from planner.tensors import Weight, linear, norm

SCALE = (Weight("global_scale", (1,), "vector"),)
LOCAL, GLOBAL = "hybrid_sliding", "hybrid"


@family("inkling_text", "inkling_mm_model")
def inkling(fields: Fields) -> Model:
    """Five layers with a window, then one without; both kinds have heads of their own."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.aliases.update(
        conv_kernel_size=("sconv_kernel_size",), sliding_window_size=("sliding_window",)
    )
    fields.ignore("unpadded_vocab_size", "log_scaling_n_floor", "log_scaling_alpha", "route_scale")
    fields.ignore("logits_mup_width_multiplier", "embedding_multiplier", "shared_expert_sink")
    fields.ignore("chain_hidden_post_norm", "mtp_hidden_states_first", "mtp_local_layer_ids")
    fields.ignore("number_of_conv_states", "rms_norm_eps_moe_gate")
    fields.expect("tie_word_embeddings", False)
    if "dense_intermediate_size" in fields:
        fields.settle("moe_intermediate_size", fields.raw("intermediate_size"))
        fields.settle("intermediate_size", fields.raw("dense_intermediate_size"))
    fields.fill(n_shared_experts=2)
    kinds = layer_kinds(fields, count)
    wide = mixers(fields, hidden_size, "", None, fields.integer("rel_extent", default=1024))
    window = fields.integer("sliding_window_size", default=512)
    local = mixers(fields, hidden_size, "swa_", window, window)
    shared = fields.integer("n_shared_experts")
    dense_first = fields.integer("dense_mlp_idx", default=0, least=0)
    fields.derive(mlp_layer_types=["dense" if i < dense_first else "sparse" for i in range(count)])
    traits = Experts(listed=True, shared=True)
    has_experts = sparse_layers(fields, count, traits)
    routes = linear("shared_router", shared, hidden_size, role="router")
    experts = moe(fields, traits).model_copy(update={"extras": (*routes, *SCALE)})
    mlp = dense_mlp(fields, has_experts, extras=SCALE)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        parts = local if kinds[index] == LOCAL else wide
        return parts, experts if has_experts[index] else mlp, norms

    groups = group_layers(count, layer)
    return assemble(
        fields,
        groups,
        hidden_size=hidden_size,
        tied=False,
        extras=norm("embed_norm", hidden_size),
        **prediction_layers(fields, groups, hidden_size),
    )


def mixers(
    fields: Fields, hidden_size: int, prefix: str, window: int | None, distances: int
) -> tuple[Attention, ResidualConvolutions]:
    """Attention of the layers whose sizes stand under `prefix`, and the convolutions around it."""
    heads = fields.integer(f"{prefix}num_attention_heads", default=64)
    kv_heads = fields.integer(f"{prefix}num_key_value_heads", default=16 if prefix else 8)
    if heads % kv_heads:
        raise fields.refuse(f"{prefix}num_key_value_heads", f"{kv_heads} does not divide {heads}")
    head_dim = fields.integer(f"{prefix}head_dim", default=128)
    width = fields.integer("d_rel", default=16)
    relative = linear("r_proj", heads * width, hidden_size, "column")
    attention = Attention(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        window=window,
        qk_norm="head",
        extras=(*relative, Weight("rel_logits_proj", (width, distances), "vector")),
    )
    convolutions = ResidualConvolutions(
        hidden_size=hidden_size,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        conv_kernel=fields.integer("conv_kernel_size", default=4),
    )
    return attention, convolutions


def layer_kinds(fields: Fields, count: int) -> list[str]:
    """layer_types, else the positions of the layers with a window, else five of each six."""
    local = fields.positions("local_layer_ids")
    types = fields.sequence("layer_types", length=count)
    if types is None:
        chosen = [i for i in range(count) if (i + 1) % 6] if local is None else local
        return [LOCAL if i in chosen else GLOBAL for i in range(count)]
    for kind in types:
        if kind not in (LOCAL, GLOBAL):
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    return types
