"""Puts layers together into a Model: groups equal ones, adds embedding, head and last norm."""

from collections.abc import Callable, Iterable
from typing import Any

from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.model import FeedForward, LayerGroup, Mixer, Model
from planner.tensors import Weight, linear, norm

Layer = tuple[tuple[Mixer, ...], FeedForward | None, tuple[Weight, ...]]
"""Mixers, feed-forward part and left-over tensors of one layer."""


def group_layers(count: int, layer: Callable[[int], Layer]) -> tuple[LayerGroup, ...]:
    """Layers 0..count-1 as groups of equal structure, in order of first appearance."""
    positions: dict[str, tuple[Layer, list[int]]] = {}
    for index in range(count):
        parts = layer(index)
        positions.setdefault(repr(parts), (parts, []))[1].append(index)
    return tuple(
        LayerGroup(layers=tuple(layers), mixers=mixers, mlp=mlp, norms=norms)
        for (mixers, mlp, norms), layers in positions.values()
    )


def assemble(
    fields: Fields,
    layers: tuple[LayerGroup, ...],
    *,
    hidden_size: int,
    tied: bool,
    norm_bias: bool = False,
    final_norm: bool = True,
    head_bias: bool = False,
    vocab_size: int | None = None,
    embedding_size: int | None = None,
    head_rows: int | None = None,
    extras: Iterable[Weight] = (),
    **rest: Any,
) -> Model:
    """The Model around `layers`. tied is the family's default for tie_word_embeddings.

    embedding_size is the embedding's and the head's width where it is not the hidden size,
    head_rows the head's outputs where they are not the whole vocabulary.
    """
    width = hidden_size if embedding_size is None else embedding_size
    vocab = fields.integer("vocab_size") if vocab_size is None else vocab_size
    tied = fields.flag("tie_word_embeddings", default=tied)
    outside = norm("norm", hidden_size, bias=norm_bias) if final_norm else ()
    head: tuple[Weight, ...] = ()
    if not tied:
        rows = vocab if head_rows is None else head_rows
        head = linear("lm_head", rows, width, "vocab", bias=head_bias, role="embedding")
    elif head_bias:
        outside += (Weight("lm_head.bias", (vocab,), "bias", "vocab"),)
    return Model(
        source="",
        model_type=fields.text("model_type", default=""),
        hidden_size=hidden_size,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        groups=layers,
        embedding=(Weight("embed_tokens", (vocab, width), "embedding", "vocab"),),
        head=head,
        extras=(*outside, *extras),
        **rest,
    )


def heads(
    fields: Fields,
    hidden_size: int,
    *,
    head_dim: int | None = None,
    num_key_value_heads: int | None = None,
    divides: bool = False,
) -> dict[str, int]:
    """Query heads, KV heads and head size as Attention takes them, under Hugging Face's names.

    head_dim, num_key_value_heads: the family's defaults where the field is absent; None means
    hidden_size / heads, and as many as query heads. divides: the family's code always divides, so
    a head_dim that says otherwise is refused.
    """
    query_heads = fields.integer("num_attention_heads")
    kv_default = None if fields.given("num_key_value_heads") else num_key_value_heads
    kv_heads = fields.integer("num_key_value_heads", default=kv_default or query_heads)
    if query_heads % kv_heads:
        raise fields.refuse(
            "num_key_value_heads",
            f"{kv_heads} does not divide num_attention_heads {query_heads}",
        )
    size = fields.optional("head_dim")
    if size is None and head_dim is not None and not fields.given("head_dim"):
        size = head_dim
    if size is None:
        size = divided(fields, hidden_size, query_heads)
    elif divides and size * query_heads != hidden_size:
        raise fields.refuse(
            "head_dim",
            f"{size} is not hidden_size / num_attention_heads, which this model type uses",
        )
    return {
        "num_attention_heads": query_heads,
        "num_key_value_heads": kv_heads,
        "head_dim": size,
    }


def divided(fields: Fields, hidden_size: int, num_attention_heads: int) -> int:
    """hidden_size / num_attention_heads, refused where that is not whole."""
    if hidden_size % num_attention_heads:
        raise fields.refuse(
            "num_attention_heads",
            f"{num_attention_heads} does not divide hidden_size {hidden_size}, "
            "and head_dim is not given",
        )
    return hidden_size // num_attention_heads


def with_window(attention: Attention, window: int | None, kind: str = "sliding") -> Attention:
    """The same attention keeping `window` tokens; None keeps all."""
    return attention.model_copy(update={"window": window, "window_type": kind})
