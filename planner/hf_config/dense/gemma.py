"""Gemma 3n and Gemma 4: layers that share caches, and embeddings of their own for every layer.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from typing import Any

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads, with_window
from planner.hf_config.layers.windows import Keep, attention_windows
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp, MoE
from planner.model import Model
from planner.tensors import Weight, linear, norm


@family("gemma3n_text")
def gemma3n(fields: Fields) -> Model:
    """Gemma 3n: alternating updates and a learned low-rank residual beside every layer."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    sizes = heads(fields, hidden_size, head_dim=256, num_key_value_heads=2)
    bias = fields.flag("attention_bias", default=False)
    keeps = attention_windows(fields, count, "last", window=512, period=5)
    first_shared = count - shared_layers(fields, keeps, default=15)
    width = fields.integer("hidden_size_per_layer_input", default=256)
    inputs = fields.integer("altup_num_inputs", default=4)
    rank = fields.integer("laurel_rank", default=64)
    inner = feed_forward_sizes(fields, count)
    fields.ignore(
        "activation_sparsity_pattern", "altup_active_idx", "altup_coef_clip", "altup_correct_scale",
        "altup_lr_multiplier",
    )  # fmt: skip
    left_over = norm("layer_norm", hidden_size) * 4 + per_layer_gate(hidden_size, width)
    left_over += (
        Weight("altup.correct_output_scale", (hidden_size,), "vector"),
        *linear("altup.correction_coefs", inputs, inputs),
        *linear("altup.prediction_coefs", inputs * inputs, inputs),
        *linear("altup.modality_router", inputs, hidden_size, role="router"),
        *norm("altup.router_norm", hidden_size),
        *linear("laurel.linear_left", rank, hidden_size),
        *linear("laurel.linear_right", hidden_size, rank),
        *norm("laurel.post_laurel_norm", hidden_size),
    )
    attention = Attention(**sizes, qkv_bias=bias, o_bias=bias, qk_norm="head")

    def layer(index: int) -> Layer:
        mixer = with_window(attention, keeps[index].window, keeps[index].type)
        mixer = mixer.model_copy(update={"shares_cache": index >= first_shared})
        return (mixer,), Mlp(intermediate_size=inner[index]), left_over

    projections = linear("altup_projections", hidden_size, hidden_size, copies=2 * (inputs - 1))
    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=True,
        extras=(*per_layer_embedding(fields, hidden_size, width, count), *projections),
    )


@family("gemma4_text", "gemma4_unified_text")
def gemma4(fields: Fields) -> Model:
    """Gemma 4: global layers have heads of their own size, and may take values from keys.

    The unified type has neither experts nor embeddings for every layer.
    """
    if fields.text("model_type") == "gemma4_unified_text":
        fields.fill(sliding_window=1024)
        fields.derive(hidden_size_per_layer_input=0)
        fields.expect("hidden_size_per_layer_input", 0)
        fields.expect("enable_moe_block", False)
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    local = heads(fields, hidden_size, head_dim=256, num_key_value_heads=4)
    fields.expect("use_bidirectional_attention", "vision")
    keeps = attention_windows(fields, count, "last", window=512, period=6)
    keeps[-1] = Keep()
    values_from_keys = fields.flag("attention_k_eq_v", default=False)
    wide = global_heads(fields, local, keeps, values_from_keys)
    first_shared = count - shared_layers(fields, keeps, default=0)
    double = fields.flag("use_double_wide_mlp", default=False)
    inner = fields.integer("intermediate_size")
    bias = fields.flag("attention_bias", default=False)
    width = fields.integer("hidden_size_per_layer_input", default=256, least=0)
    left_over = norm("layer_norm", hidden_size) * 4
    if width:
        left_over += per_layer_gate(hidden_size, width)
    experts = gemma4_experts(fields, hidden_size)

    def layer(index: int) -> Layer:
        keep, shared = keeps[index], index >= first_shared
        attention = Attention(
            **(wide if keep.window is None else local),
            window=keep.window,
            qkv_bias=bias,
            o_bias=bias,
            qk_norm="head",
            shares_cache=shared,
            values_from_keys=values_from_keys and keep.window is None,
        )
        dense = Mlp(intermediate_size=inner * (2 if double and shared else 1))
        if experts is None:
            return (attention,), dense, left_over
        both = experts.model_copy(update={"shared": dense})
        return (attention,), both, left_over + norm("layer_norm", hidden_size) * 3

    extras = per_layer_embedding(fields, hidden_size, width, count) if width else ()
    fields.ignore("vocab_size_per_layer_input")
    return assemble(
        fields, group_layers(count, layer), hidden_size=hidden_size, tied=True, extras=extras
    )


def global_heads(
    fields: Fields, local: dict[str, int], keeps: list[Keep], values_from_keys: bool
) -> dict[str, int]:
    """Heads of the layers without a window: `per_layer_config` in newer files, else two fields."""
    written = fields.child("per_layer_config")
    if written is None:
        size = fields.integer("global_head_dim", default=512)
        kv_heads = fields.optional("num_global_key_value_heads")
        if kv_heads is None or not values_from_keys:
            kv_heads = local["num_key_value_heads"]
        return divides({**local, "head_dim": size, "num_key_value_heads": kv_heads}, fields)
    fields.ignore("global_head_dim", "num_global_key_value_heads")
    named = {int(name): name for name in written.config if name.isdecimal() and len(name) < 9}
    wide = {index for index, keep in enumerate(keeps) if keep.window is None}
    if len(named) != len(written.config) or set(named) != wide:
        raise fields.refuse("per_layer_config", "names other layers than those without a window")
    found = []
    for name in named.values():
        entry = written.child(name)
        if entry is None:
            raise written.refuse(name, "is null")
        size = entry.integer("head_dim", default=local["head_dim"])
        kv_heads = entry.integer("num_key_value_heads", default=local["num_key_value_heads"])
        entry.finish()
        found.append({**local, "head_dim": size, "num_key_value_heads": kv_heads})
    if any(entry != found[0] for entry in found):
        raise fields.refuse("per_layer_config", "gives layers without a window different sizes")
    return divides(found[0], fields)


def divides(sizes: dict[str, int], fields: Fields) -> dict[str, int]:
    """The same sizes, refused where KV heads do not divide query heads."""
    if sizes["num_attention_heads"] % sizes["num_key_value_heads"]:
        raise fields.refuse("num_global_key_value_heads", "does not divide num_attention_heads")
    return sizes


def gemma4_experts(fields: Fields, hidden_size: int) -> MoE | None:
    """The experts that stand beside Gemma 4's feed-forward layer, where it has them."""
    if not fields.flag("enable_moe_block", default=False):
        fields.ignore("num_experts", "top_k_experts", "moe_intermediate_size")
        return None
    num_experts = fields.integer("num_experts")
    return MoE(
        num_experts=num_experts,
        num_experts_per_tok=fields.integer("top_k_experts", most=num_experts),
        moe_intermediate_size=fields.integer("moe_intermediate_size"),
        extras=(
            Weight("router.scale", (hidden_size,), "vector"),
            Weight("router.per_expert_scale", (num_experts,), "vector"),
        ),
    )


def shared_layers(fields: Fields, keeps: list[Keep], *, default: int) -> int:
    """How many of the last layers read keys and values that earlier layers of a kind stored."""
    shared = fields.integer("num_kv_shared_layers", default=default, least=0)
    if shared >= len(keeps):
        raise fields.refuse("num_kv_shared_layers", f"{shared} leaves no layer to share from")
    if set(keeps[: len(keeps) - shared]) != set(keeps):
        raise fields.refuse(
            "num_kv_shared_layers", f"{shared} leaves a kind of layer none to share"
        )
    return shared


def feed_forward_sizes(fields: Fields, count: int) -> list[int]:
    """`intermediate_size` as one number for all layers, or one for each."""
    written: Any = fields.config.get("intermediate_size")
    if not isinstance(written, list):
        return [fields.integer("intermediate_size")] * count
    sizes = fields.sequence("intermediate_size", length=count) or []
    if any(isinstance(n, bool) or not isinstance(n, int) or not 0 < n < 2**31 for n in sizes):
        raise fields.refuse("intermediate_size", f"{short(sizes)} holds more than whole numbers")
    return sizes


def per_layer_gate(hidden_size: int, width: int) -> tuple[Weight, ...]:
    """What a layer does with its own embedding of the token."""
    return (
        *linear("per_layer_input_gate", width, hidden_size),
        *linear("per_layer_projection", hidden_size, width),
        *norm("post_per_layer_input_norm", hidden_size),
    )


def per_layer_embedding(
    fields: Fields, hidden_size: int, width: int, count: int
) -> tuple[Weight, ...]:
    """The embedding that holds `width` numbers per token and layer, and its projection."""
    rows = fields.integer("vocab_size_per_layer_input", default=262144)
    return (
        Weight("embed_tokens_per_layer", (rows, count * width), "embedding", "vocab"),
        *linear("per_layer_model_projection", count * width, hidden_size),
        *norm("per_layer_projection_norm", width),
    )
