"""dots3-note: latent attention of one size with an indexer, and of another with a window.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from typing import Any

from planner.hf_config.families import family
from planner.hf_config.latents.mla import indexer, latent_attention
from planner.hf_config.layers.assembly import Layer, assemble, group_layers
from planner.hf_config.layers.experts import Experts, dense_mlp, moe, sparse_layers
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import LatentAttention
from planner.model import Model
from planner.tensors import linear, norm

SLIDING, INDEXED, FULL = "sliding_attention", "indexed_attention", "full_attention"
WINDOWED = {
    "num_attention_heads": 64, "num_key_value_heads": 64, "q_lora_rank": 1024,
    "kv_lora_rank": 1024, "head_dim": 256, "qk_nope_head_dim": 192, "v_head_dim": 128,
}  # fmt: skip
"""Sizes of the layers with a window, where neither `swa_` fields nor per_layer_config say them."""
SIZES = (*WINDOWED, "qk_rope_head_dim")


@family("dots3_note", "dots3_note_text")
def dots3_note(fields: Fields) -> Model:
    """Layers named by layer_types; their sizes may differ one by one."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    fields.fill(
        q_lora_rank=1024, index_n_heads=64, index_head_dim=128, index_topk=2048,
        n_shared_experts=1, first_k_dense_replace=1,
    )  # fmt: skip
    fields.aliases.update(
        shared_experts_intermediate_size=("moe_shared_expert_intermediate_size",),
        sliding_window=("sliding_window_size",),
    )
    fields.ignore("num_key_value_heads", "head_dim", "swa_rope_theta")
    fields.expect("mlp_bias", False)
    window = fields.integer("sliding_window", default=512)
    kinds = layer_kinds(fields, count)
    sizes = layer_sizes(fields, kinds)
    traits = Experts(where="first", listed=True, shared_size="shared_experts_intermediate_size")
    fields.fill(shared_experts_intermediate_size=1536)
    has_experts = sparse_layers(fields, count, traits)
    experts = moe(fields, traits)
    mlp = dense_mlp(fields, has_experts)
    norms = norm("layernorm", hidden_size) * 2

    def layer(index: int) -> Layer:
        own = Fields({**fields.config, **sizes[index]}, fields.path)
        attention = latent_attention(own)
        fields.read.update(own.read)
        extras = norm("k_rope_only_layernorm", attention.qk_rope_head_dim)
        extras += linear("g_proj", attention.num_attention_heads, hidden_size, "column")
        update: dict[str, Any] = {"extras": extras}
        if kinds[index] == SLIDING:
            update["window"] = window
        elif kinds[index] == INDEXED:
            update["indexer"] = indexer(fields, hidden_size, attention.q_lora_rank)
        mixer: LatentAttention = attention.model_copy(update=update)
        return (mixer,), experts if has_experts[index] else mlp, norms

    groups = group_layers(count, layer)
    fields.ignore("index_n_heads", "index_head_dim", "index_topk")
    return assemble(fields, groups, hidden_size=hidden_size, tied=False)


def layer_kinds(fields: Fields, count: int) -> list[str]:
    """Kinds of the layers. use_dsa: whether those without a window have an indexer."""
    indexed = fields.flag("use_dsa", default=not fields.given("per_layer_config"))
    slides = fields.flag("use_sliding_window", default=True)
    whole = INDEXED if indexed else FULL
    types = fields.sequence("layer_types", length=count)
    if types is None:
        return [SLIDING if slides and i > 1 and i % 4 != 1 else whole for i in range(count)]
    for kind in types:
        if kind not in (SLIDING, INDEXED, FULL):
            raise fields.refuse("layer_types", f"{short(kind)} is not understood here")
    if not fields.given("use_dsa") and fields.given("per_layer_config"):
        return types
    return [kind if kind == SLIDING else whole for kind in types]


def layer_sizes(fields: Fields, kinds: list[str]) -> list[dict[str, Any]]:
    """What each layer has in place of the sizes of the whole model."""
    windowed = {n: fields.integer(f"swa_{n}", default=value) for n, value in WINDOWED.items()}
    rope = windowed["head_dim"] - windowed["qk_nope_head_dim"]
    windowed["qk_rope_head_dim"] = fields.integer("swa_qk_rope_head_dim", default=rope)
    written = fields.child("per_layer_config")
    if written is None:
        return [windowed if kind == SLIDING else {} for kind in kinds]
    found: list[dict[str, Any]] = [{} for _ in kinds]
    for name in written.config:
        if not name.isdecimal() or len(name) > 4 or int(name) >= len(kinds):
            raise written.refuse(name, "is not the position of a layer")
        entry = written.child(name)
        if entry is not None:
            found[int(name)] = {n: entry.integer(n) for n in SIZES if n in entry}
            entry.finish()
    return found
