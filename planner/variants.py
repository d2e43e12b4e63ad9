"""The same model with another attention: what each form would store and cache.

A variant changes the attention of every softmax layer and nothing else; recurrent layers stay.
It is a comparison of architectures and not a conversion: a model has to be trained that way.

    for variant in attention_variants(model):
        print(variant.name, count(variant.model).total)
"""

from collections.abc import Callable
from dataclasses import dataclass

from planner.errors import PlanRefused
from planner.formats.gguf_tensors import reshaped
from planner.kinds.attention import Attention, LatentAttention
from planner.model import Mixer, Model
from planner.parameters import count
from planner.same_parameters import widths, with_parameters

WINDOW = 4096
"""Mistral 7B's window (arXiv 2310.06825)."""
GROUPED_KV_HEADS = 8
"""KV heads of most grouped-query models (arXiv 2305.13245 finds 8 close to multi-head quality)."""

Softmax = Attention | LatentAttention


@dataclass(frozen=True, slots=True)
class Variant:
    """One form of attention for the whole model, and what it means in a sentence."""

    name: str
    description: str
    model: Model


def attention_variants(
    model: Model, window: int = WINDOW, *, same_parameters: bool = False
) -> tuple[Variant, ...]:
    """`model` as published, then with MHA, GQA, MQA, MLA and a sliding window on every layer.

    Only the published form for a model without softmax attention. Grouped-query attention uses
    the largest number of KV heads up to GROUPED_KV_HEADS that divides the query heads. With
    same_parameters the feed-forward layers make up the difference, and a form for which they
    cannot is left out.
    """
    found = _variants(model, window)
    if not same_parameters:
        return found
    total = count(model).total
    return tuple(same for variant in found if (same := at_parameters(variant, total)) is not None)


def at_parameters(variant: Variant, total: int) -> Variant | None:
    """The form with `total` parameters, or None where feed-forward layers cannot give them."""
    before = widths(variant.model)
    try:
        model = with_parameters(variant.model, total)
    except PlanRefused:
        return None
    after = widths(model)
    if before == after:
        return Variant(variant.name, variant.description, model)
    changed = f"feed-forward {_list(after)} instead of {_list(before)}"
    return Variant(variant.name, f"{variant.description}, {changed}", model)


def _list(sizes: tuple[int, ...]) -> str:
    return " / ".join(f"{size:,}" for size in sizes)


def _variants(model: Model, window: int) -> tuple[Variant, ...]:
    published = Variant("As published", "the attention that the configuration describes", model)
    if not any(isinstance(m, Softmax) for g in model.groups for m in g.mixers):
        return (published,)
    return (
        published,
        _variant(model, "MHA", "every query head has its own keys and values", multi_head),
        _variant(
            model,
            "GQA",
            f"query heads share at most {GROUPED_KV_HEADS} heads of keys and values",
            lambda mixer: _grouped(mixer, GROUPED_KV_HEADS),
        ),
        _variant(
            model, "MQA", "one head of keys and values for all", lambda mixer: _grouped(mixer, 1)
        ),
        _variant(
            model,
            "MLA",
            "one latent vector of 4 heads' width and a rotary key of half a head's (DeepSeek-V2)",
            _latent,
        ),
        _variant(
            model,
            f"Window {window:,}",
            f"as published, but no layer keeps more than {window:,} tokens",
            lambda mixer: _windowed(mixer, window),
        ),
    )


def multi_head(mixer: Softmax) -> Attention:
    """The same attention with as many KV heads as query heads, over the whole context."""
    return _grouped(mixer, mixer.num_attention_heads)


def _grouped(mixer: Softmax, most_kv_heads: int) -> Attention:
    heads = mixer.num_attention_heads
    kv_heads = next(n for n in range(min(most_kv_heads, heads), 0, -1) if heads % n == 0)
    if isinstance(mixer, Attention):
        return mixer.model_copy(
            update={
                "num_key_value_heads": kv_heads,
                "window": None,
                "shares_cache": False,
                "indexer": None,
            }
        )
    return Attention(
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=mixer.head_dim,
        v_head_dim=mixer.v_head_dim,
        o_bias=mixer.o_bias,
    )


def _latent(mixer: Softmax) -> LatentAttention:
    """MLA with DeepSeek-V2's proportions: latent 4 x head_dim, rotary part head_dim / 2.

    Source: arXiv 2405.04434, section 2.1.4. A mixer that is latent already keeps its own sizes.
    """
    if isinstance(mixer, LatentAttention):
        return mixer.model_copy(update={"window": None, "indexer": None})
    return LatentAttention(
        num_attention_heads=mixer.num_attention_heads,
        q_lora_rank=None,
        kv_lora_rank=4 * mixer.head_dim,
        qk_nope_head_dim=mixer.head_dim,
        qk_rope_head_dim=mixer.head_dim // 2,
        v_head_dim=mixer.value_dim,
        o_bias=mixer.o_bias,
    )


def _windowed(mixer: Softmax, window: int) -> Softmax:
    kept = window if mixer.window is None else min(window, mixer.window)
    return mixer.model_copy(update={"window": kept})


def _variant(
    model: Model, name: str, description: str, change: Callable[[Softmax], Softmax]
) -> Variant:
    def changed(mixer: Mixer) -> Mixer:
        return change(mixer) if isinstance(mixer, Softmax) else mixer

    groups = tuple(
        group.model_copy(update={"mixers": tuple(changed(m) for m in group.mixers)})
        for group in model.groups
    )
    fields = {field: getattr(model, field) for field in Model.model_fields}
    return Variant(name, description, Model(**{**fields, "groups": groups, **reshaped(model)}))
