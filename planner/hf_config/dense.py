"""Dense decoders that differ in a few traits only: biases, norms, windows, tying.

A row of TRAITS says what a model type's own code does that its configuration does not spell out.
A trait written as (field, default) is read from the configuration.
Source of the rows: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from dataclasses import dataclass
from typing import Literal

from planner.attention_kinds import Attention
from planner.hf_config.assembly import Layer, assemble, group_layers, heads, with_window
from planner.hf_config.families import family
from planner.hf_config.reader import Fields
from planner.hf_config.windows import Rule, attention_windows
from planner.mlp_kinds import Mlp
from planner.model import Model
from planner.tensors import Weight, norm

Trait = bool | tuple[str, bool]


@dataclass(frozen=True)
class Traits:
    """norm: "rms" has a scale, "layer" a scale and a shift, "none" nothing."""

    norm: Literal["rms", "layer", "none"] = "rms"
    norms_per_layer: int = 2
    qkv_bias: Trait = False
    o_bias: Trait = False
    mlp_bias: Trait = False
    qk_norm: Literal["none", "head", "width"] | tuple[str, Literal["head", "width"]] = "none"
    gated: bool = True
    tied: bool = False
    head_dim: int | None = None
    head_bias: bool = False
    windows: Rule = "none"
    window: int | None = None
    period: int = 2
    ignored: tuple[str, ...] = ()


TRAITS = {
    "llama": Traits(
        qkv_bias=("attention_bias", False),
        o_bias=("attention_bias", False),
        mlp_bias=("mlp_bias", False),
    ),
    "mistral": Traits(windows="every", window=4096),
    "qwen2": Traits(qkv_bias=True, windows="qwen", window=4096),
    "qwen3": Traits(
        qkv_bias=("attention_bias", False),
        o_bias=("attention_bias", False),
        qk_norm="head",
        head_dim=128,
        windows="qwen",
        window=4096,
    ),
    "gemma": Traits(
        qkv_bias=("attention_bias", False),
        o_bias=("attention_bias", False),
        tied=True,
        head_dim=256,
    ),
    "gemma2": Traits(
        norms_per_layer=4,
        qkv_bias=("attention_bias", False),
        o_bias=("attention_bias", False),
        tied=True,
        head_dim=256,
        windows="alternate",
        window=4096,
        ignored=("sliding_window_size",),
    ),
    "gemma3_text": Traits(
        norms_per_layer=4,
        qkv_bias=("attention_bias", False),
        o_bias=("attention_bias", False),
        qk_norm="head",
        tied=True,
        head_dim=256,
        windows="pattern",
        window=4096,
        period=6,
    ),
    "olmo2": Traits(
        qkv_bias=("attention_bias", False), o_bias=("attention_bias", False), qk_norm="width"
    ),
}


def holds(fields: Fields, trait: Trait) -> bool:
    """Whether a trait holds for this configuration."""
    return trait if isinstance(trait, bool) else fields.flag(trait[0], default=trait[1])


@family(*TRAITS)
def dense(fields: Fields) -> Model:
    """A decoder of equal layers with the traits of its model type."""
    traits = TRAITS[fields.text("model_type")]
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    qk_norm = traits.qk_norm
    if isinstance(qk_norm, tuple):
        qk_norm = qk_norm[1] if fields.flag(qk_norm[0], default=False) else "none"
    attention = Attention(
        **heads(fields, hidden_size, head_dim=traits.head_dim),
        qkv_bias=holds(fields, traits.qkv_bias),
        o_bias=holds(fields, traits.o_bias),
        qk_norm=qk_norm,
    )
    mlp = Mlp(
        intermediate_size=fields.integer("intermediate_size"),
        gated=traits.gated,
        bias=holds(fields, traits.mlp_bias),
    )
    keeps = attention_windows(
        fields, count, traits.windows, window=traits.window, period=traits.period
    )
    norms = layer_norms(traits, hidden_size)
    fields.ignore(*traits.ignored)

    def layer(index: int) -> Layer:
        keep = keeps[index]
        return (with_window(attention, keep.window, keep.type),), mlp, norms

    return assemble(
        fields,
        group_layers(count, layer),
        hidden_size=hidden_size,
        tied=traits.tied,
        norm_bias=traits.norm == "layer",
        final_norm=traits.norm != "none",
        head_bias=traits.head_bias,
    )


def layer_norms(traits: Traits, hidden_size: int) -> tuple[Weight, ...]:
    """The norms around one layer's parts."""
    if traits.norm == "none":
        return ()
    one = norm("layer_norm", hidden_size, bias=traits.norm == "layer")
    return one * traits.norms_per_layer
