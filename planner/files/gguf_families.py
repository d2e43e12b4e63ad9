"""What single model types say beyond one field for each key of a GGUF file."""

from collections.abc import Callable
from typing import Any

from planner.files.gguf_keys import Keys
from planner.files.gguf_layers import Shapes, every, layers_with

NO_EXPERTS = ("first_k_dense_replace", "moe_intermediate_size")
Settle = Callable[[Keys, dict[str, Any], Shapes], None]


def llama(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Mixtral has the same architecture."""
    if config.get("num_experts"):
        config |= {"model_type": "mixtral", "num_local_experts": config.pop("num_experts")}
        config.pop("attention_bias"), config.pop("mlp_bias")


def deepseek(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Version 3 and what is built like it add to routing scores; without experts it is Youtu."""
    if not config.get("num_experts"):
        config["model_type"] = "youtu"
        for name in [name for name in config if "expert" in name or name in NO_EXPERTS]:
            del config[name]
    elif layers_with(shapes, "exp_probs_b.bias"):
        config["model_type"] = "deepseek_v3"


def mamba(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Falcon Mamba normalises what the state is updated with."""
    if keys.get("ssm.dt_b_c_rms"):
        config["model_type"] = "falcon_mamba"


def jamba(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Attention and experts come in even periods."""
    count = config["num_hidden_layers"]
    attends = layers_with(shapes, "attn_q.weight")
    period, offset = every(keys, "attention.head_count_kv", attends, count)
    config |= {"attn_layer_period": period, "attn_layer_offset": offset}
    sparse = layers_with(shapes, "ffn_gate_inp.weight")
    if sparse:
        period, offset = every(keys, "expert_count", sparse, count)
        config |= {"expert_layer_period": period, "expert_layer_offset": offset}
    else:
        config["num_experts"] = 1


def granite_moe(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """A shared part makes it another model type."""
    if config.get("shared_intermediate_size"):
        config["model_type"] = "granitemoeshared"


def granite_hybrid(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """The feed-forward part of layers without experts is the shared one."""
    if not config.get("num_local_experts"):
        config["num_local_experts"] = 0
        config["shared_intermediate_size"] = config.get("intermediate_size")


def falcon(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Queries and the feed-forward part may read norms of their own."""
    config["num_key_value_heads"] = None  # which is num_kv_heads here
    config["num_ln_in_parallel_attn"] = 2 if layers_with(shapes, "attn_norm_2.weight") else 1


def searched(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Nemotron-NAS: heads and widths by layer, zeros where a part is left out, and query heads
    without any of keys where one matrix stands for attention. DeciLM lists KV heads only."""
    count, hidden = config["num_hidden_layers"], config["hidden_size"]
    config["num_attention_heads"] = keys.needed("attention.head_count")
    config["num_key_value_heads"] = None
    names = ("attention.head_count", "attention.head_count_kv", "feed_forward_length")
    listed = [keys.for_layers(name, count) for name in names]
    if not isinstance(keys.raw("feed_forward_length"), list):
        config |= {"model_type": "deci", "intermediate_size": listed[2][0]}
        config["num_key_value_heads_per_layer"] = listed[1]
        return
    config["block_configs"] = [
        {
            "attention": {
                "no_op": not queries,
                "replace_with_linear": bool(queries and not kv_heads),
                "n_heads_in_group": queries // kv_heads if kv_heads else None,
            },
            "ffn": {"no_op": not inner, "ffn_mult": 3 * inner / (2 * hidden) if inner else None},
        }
        for queries, kv_heads, inner in zip(*listed, strict=True)
    ]


def gemma3n(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Sizes that stand in shapes only, and a feed-forward width for each layer."""
    config["intermediate_size"] = keys.raw("feed_forward_length")
    config["laurel_rank"] = shapes.get("blk.0.laurel_l.weight", (0,))[0]
    table = shapes.get("per_layer_token_embd.weight", (0,))
    config["vocab_size_per_layer_input"] = table[0]
    for key in ("altup.active_idx", "activation_sparsity_scale"):
        keys.raw(key)


def gemma4(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Layers that see everything have heads of their own, and may take values from keys."""
    kinds = config.get("layer_types") or []
    full = {index for index, kind in enumerate(kinds) if kind == "full_attention"}
    listed = keys.raw("attention.head_count_kv")
    if not isinstance(listed, list):
        config["num_key_value_heads"] = keys.whole("attention.head_count_kv")
    elif len(listed) == len(kinds):
        for name, layers in (
            ("num_key_value_heads", set(range(len(kinds))) - full),
            ("num_global_key_value_heads", full),
        ):
            sizes = {listed[index] for index in layers}
            if len(sizes) > 1:
                raise keys.refuse("attention.head_count_kv", "differs among layers of one kind")
            config[name] = next(iter(sizes), None)
    config["attention_k_eq_v"] = bool(full - layers_with(shapes, "attn_v.weight"))
    config["enable_moe_block"] = bool(config.get("num_experts"))
    widths = keys.raw("feed_forward_length")
    if isinstance(widths, list) and widths:
        config["use_double_wide_mlp"] = widths[-1] != widths[0]
        widths = widths[0]
    config["intermediate_size"] = widths
    table = shapes.get("per_layer_token_embd.weight")
    if table is not None:
        config["vocab_size_per_layer_input"] = table[0]


def glm_dsa(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Layers without an indexer of their own use the choice of one before."""
    listed = keys.raw("attention.indexer.types")
    if isinstance(listed, list):
        types = ["full" if own else "shared" for own in listed]
        config["indexer_types"] = types[: config["num_hidden_layers"]]


def kimi_linear(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Delta layers have as many heads as the model."""
    config["linear_num_heads"] = config["num_attention_heads"]


def nemotron_h(keys: Keys, config: dict[str, Any], shapes: Shapes) -> None:
    """Files give every layer a feed-forward width, some of them 0 for all: shapes have it."""
    for index in layers_with(shapes, "ffn_up.weight"):
        config["intermediate_size"] = shapes[f"blk.{index}.ffn_up.weight"][0]
    if not layers_with(shapes, "ffn_gate_inp.weight"):
        for name in [name for name in config if "expert" in name or name in NO_EXPERTS]:
            del config[name]


SETTLED: dict[str, Settle] = {
    "deepseek_v2": deepseek,
    "falcon": falcon,
    "gemma3n_text": gemma3n,
    "gemma4_text": gemma4,
    "glm_moe_dsa": glm_dsa,
    "granitemoe": granite_moe,
    "granitemoehybrid": granite_hybrid,
    "jamba": jamba,
    "kimi_linear": kimi_linear,
    "llama": llama,
    "mamba": mamba,
    "nemotron-nas": searched,
    "nemotron_h": nemotron_h,
}
