"""What each plain decoder family's own code does that its configuration does not spell out.

A trait written as (field, default) is read from the configuration. The rows themselves are in
rows, odd_rows and multimodal_rows (families of Hugging Face transformers) and in remote (code
beside the weights).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from planner.hf_config.layers.windows import Rule
from planner.kinds.attention import Attention
from planner.tensors import Weight

Trait = bool | tuple[str, bool]
QKNorm = Literal["none", "head", "width"]


@dataclass(frozen=True)
class Traits:
    """One family.

    norm: "rms" has a scale, "layer" a scale and a shift, "none" nothing.
    num_key_value_heads, head_dim: defaults where the field is absent; None means as many as query
    heads, and hidden_size / heads. divides: the code divides, so a head_dim may only agree.
    expects: fields that must be absent, null or one of these values.
    other_norms: (field, default, norms per layer) where a flag changes their number.
    aliases: other names this family uses for a field.
    multi_head: every query head has its own KV head, so num_key_value_heads may only agree.
    positions: (field, default, extra rows) of a learned position table.
    inner_multiple: intermediate_size is this many hidden sizes where it is absent. inner_name: the
    one name under which the class then reads another; "" means none.
    embedding_norm: the embedding's output is normalised.
    head_rows: the field that holds the head's outputs where they are not the whole vocabulary.
    """

    norm: Literal["rms", "layer", "none"] = "rms"
    norms_per_layer: int = 2
    other_norms: tuple[str, bool, int] | None = None
    qkv_bias: Trait = False
    o_bias: Trait = False
    mlp_bias: Trait = False
    qk_norm: QKNorm | tuple[str, QKNorm] = "none"
    qk_norm_default: bool = False
    qk_norm_bias: bool = False
    gated: bool = True
    multi_head: bool = False
    positions: tuple[str, int, int] | None = None
    inner_multiple: int | None = None
    inner_name: str = "intermediate_size"
    embedding_norm: bool = False
    tied: bool = False
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    divides: bool = False
    head_bias: Trait = False
    head_rows: str | None = None
    windows: Rule = "none"
    window: int | None = None
    period: int = 2
    attention_extras: Callable[[Attention, int], tuple[Weight, ...]] | None = None
    mlp_extras: Callable[[int, int], tuple[Weight, ...]] | None = None
    layer_extras: Callable[[int], tuple[Weight, ...]] | None = None
    ignored: tuple[str, ...] = ()
    expects: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
