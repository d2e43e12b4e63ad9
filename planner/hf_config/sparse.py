"""Traits of families with softmax attention and experts, and the rules their rows are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.hf_config.experts import Experts
from planner.hf_config.layer_types import Slides
from planner.hf_config.reader import Fields
from planner.hf_config.traits import Traits
from planner.kinds.attention import Attention
from planner.tensors import Weight, linear


@dataclass(frozen=True)
class Sparse(Traits):
    """Traits of a decoder with experts.

    slides: which layers have a window where `layer_types` does not say it, instead of a rule.
    zero: fields that are understood only where they are 0. needs: fields that must be there, as
    a type and its wrapper have different values for them.
    """

    experts: Experts = field(default_factory=Experts)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    slides: Slides | None = None
    dense_size: str = "intermediate_size"
    zero: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


BIASED: dict[str, Any] = {
    "qkv_bias": ("attention_bias", False),
    "o_bias": ("attention_bias", False),
}
GRANITE: dict[str, Any] = {
    **BIASED,
    "defaults": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "expects": {"normalization_function": ("rmsnorm",), "position_embedding_type": ("rope",)},
}


def sinks(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """One learned logit per head."""
    return (Weight("sinks", (attention.num_attention_heads,), "vector", "column"),)


def gate(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """A projection whose sigmoid scales the attention's output."""
    width = attention.num_attention_heads * attention.head_dim
    return linear("gate_proj", width, hidden_size, "column")


def biased_gate(attention: Attention, hidden_size: int) -> tuple[Weight, ...]:
    """Such a projection, and a bias per head."""
    bias = Weight("gate_bias", (attention.num_attention_heads,), "vector", "column")
    return (*gate(attention, hidden_size), bias)


def qwen2_moe_slides(fields: Fields, count: int) -> list[bool]:
    slides = fields.flag("use_sliding_window", default=False)
    last = fields.integer("max_window_layers", default=28, least=0)
    return [slides and index % 2 == 0 and index < last for index in range(count)]


def qwen3_moe_slides(fields: Fields, count: int) -> list[bool]:
    fields.ignore("max_window_layers")
    return [fields.flag("use_sliding_window", default=False)] * count


def dots1_slides(fields: Fields, count: int) -> list[bool]:
    first = fields.integer("max_window_layers", default=62, least=0)
    fields.ignore("use_sliding_window")
    return [index >= first for index in range(count)]


def every_but(name: str, period: int) -> Slides:
    """All layers slide but each n-th, n under this name."""

    def slides(fields: Fields, count: int) -> list[bool]:
        every = fields.integer(name, default=period)
        return [(index + 1) % every != 0 for index in range(count)]

    return slides


def cohere2_moe_slides(fields: Fields, count: int) -> list[bool]:
    """The first, dense layers have a period of their own; then the period starts again."""
    dense = min(fields.integer("first_k_dense_replace", default=0, least=0), count)
    first = fields.integer("prefix_dense_sliding_window_pattern", default=1)
    every = fields.integer("sliding_window_pattern", default=4)
    slides = [(index + 1) % first != 0 for index in range(dense)]
    return slides + [(index + 1) % every != 0 for index in range(count - dense)]


def flint_slides(fields: Fields, count: int) -> list[bool]:
    return [not (i < 2 or i % 4 == 1 or i == count - 1) for i in range(count)]


def sixth_and_last_full(fields: Fields, count: int) -> list[bool]:
    return [(index + 1) % 6 != 0 and index != count - 1 for index in range(count)]


def fifth_full(fields: Fields, count: int) -> list[bool]:
    return [(index + 1) % 5 != 0 for index in range(count)]


def none(fields: Fields, count: int) -> list[bool]:
    return [False] * count
