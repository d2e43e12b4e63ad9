"""What each family with softmax attention and experts does beyond the traits of a dense one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.hf_config.dense.traits import Traits
from planner.hf_config.experts.slides import Slides
from planner.hf_config.layers.experts import Experts


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
