"""Decoders with softmax attention and routed experts, which differ in a few traits only.

A row says what a model type's own code does that its configuration does not spell out; `defaults`
are its class's values for fields that configurations leave out.
Source of the rows: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.attention_kinds import Attention
from planner.hf_config.assembly import Layer, assemble, group_layers, with_window
from planner.hf_config.dense import attention_of, holds, layer_norms
from planner.hf_config.experts import Experts, moe, sparse_layers
from planner.hf_config.families import family
from planner.hf_config.layer_types import Slides, typed_windows
from planner.hf_config.mtp import prediction_layers
from planner.hf_config.reader import Fields
from planner.hf_config.traits import Traits
from planner.hf_config.windows import attention_windows
from planner.mlp_kinds import Mlp
from planner.model import Model
from planner.tensors import Weight, linear


@dataclass(frozen=True)
class Sparse(Traits):
    """Traits of a decoder with experts.

    slides: which layers have a window where `layer_types` does not say it, instead of a rule.
    zero: fields that are understood only where they are 0.
    """

    experts: Experts = field(default_factory=Experts)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    slides: Slides | None = None
    dense_size: str = "intermediate_size"
    zero: tuple[str, ...] = ()


BIASED: dict[str, Any] = {
    "qkv_bias": ("attention_bias", False),
    "o_bias": ("attention_bias", False),
}


def sinks(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """One learned logit per head."""
    return (Weight("sinks", (attention.num_attention_heads,), "vector", "column"),)


def gate(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """A projection whose sigmoid scales the attention's output."""
    width = attention.num_attention_heads * attention.head_dim
    return linear("gate_proj", width, hidden_size, "column")


def qwen2_moe_slides(fields: Fields, count: int) -> list[bool]:
    slides = fields.flag("use_sliding_window", default=False)
    last = fields.integer("max_window_layers", default=28, least=0)
    return [slides and index % 2 == 0 and index < last for index in range(count)]


def qwen3_moe_slides(fields: Fields, count: int) -> list[bool]:
    fields.ignore("max_window_layers")
    return [fields.flag("use_sliding_window", default=False)] * count


TRAITS = {
    "mixtral": Sparse(
        windows="every",
        experts=Experts(size="intermediate_size"),
        defaults={"num_key_value_heads": 8, "num_experts_per_tok": 2, "num_local_experts": 8},
    ),
    "phimoe": Sparse(
        **BIASED,
        norm="layer",
        windows="every",
        head_bias=("lm_head_bias", False),
        experts=Experts(size="intermediate_size"),
        defaults={"num_key_value_heads": 8, "num_experts_per_tok": 2, "num_local_experts": 16},
        ignored=("input_jitter_noise",),
    ),
    "qwen2_moe": Sparse(
        qkv_bias=("qkv_bias", True),
        experts=Experts(
            where="step", shared_size="shared_expert_intermediate_size", shared_gate=True
        ),
        slides=qwen2_moe_slides,
        window=4096,
    ),
    "qwen3_moe": Sparse(
        **BIASED,
        qk_norm="head",
        experts=Experts(where="step"),
        zero=("shared_expert_intermediate_size",),
        expects={"use_qk_norm": (True,)},
        slides=qwen3_moe_slides,
        window=4096,
    ),
    "olmoe": Sparse(**BIASED, qk_norm="width", experts=Experts(size="intermediate_size")),
    "flex_olmo": Sparse(**BIASED, qk_norm="width", experts=Experts(size="intermediate_size")),
    "gpt_oss": Sparse(
        qkv_bias=("attention_bias", True),
        o_bias=("attention_bias", True),
        head_dim=64,
        attention_extras=sinks,
        windows="alternate",
        window=128,
        experts=Experts(size="intermediate_size", router_bias=True, expert_bias=True),
        ignored=("experts_per_token",),
    ),
    "glm4_moe": Sparse(
        qkv_bias=("attention_bias", False),
        qk_norm=("use_qk_norm", "head"),
        experts=Experts(where="first", shared=True),
        defaults={"first_k_dense_replace": 1, "n_shared_experts": 1},
    ),
}


@family(*TRAITS)
def sparse(fields: Fields) -> Model:
    """A decoder whose layers have experts, all or some of them."""
    traits = TRAITS[fields.text("model_type")]
    fields.fill(**traits.defaults)
    fields.ignore("intermediate_size", *traits.ignored)
    for name in traits.zero:
        fields.expect(name, 0)
    for name, allowed in traits.expects.items():
        fields.expect(name, *allowed)
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    attention = attention_of(fields, traits, hidden_size)
    has_experts = sparse_layers(fields, count, traits.experts.where)
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
        mixer = with_window(attention, keep.window, keep.type)
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
