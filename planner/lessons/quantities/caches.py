"""Bytes of a cache, and how heads and formats change them."""

from planner.deployment import Deployment
from planner.formats.dtypes import kv_format
from planner.kinds.attention import Attention
from planner.kv_cache import cache_terms, whole
from planner.lessons.quantities.given import Figure, Inputs, Presets, Quantity, one_or_all
from planner.model import LayerGroup, Model

HEAD = 128
"""Elements of the head whose entries formats are compared by."""


def _model(inputs: Inputs, presets: Presets) -> Model:
    """The preset that a claim names, or a bare stack of the layers that it describes."""
    if "model" in inputs:
        return presets.model_of(inputs["model"])
    heads, layers = inputs["kv_heads"], inputs.get("layers", 1)
    mixer = Attention(
        num_attention_heads=heads, num_key_value_heads=heads, head_dim=inputs["head_dim"]
    )
    group = LayerGroup(layers=tuple(range(layers)), mixers=(mixer,))
    return Model(
        source="as described", model_type="described", hidden_size=heads * inputs["head_dim"],
        vocab_size=1, tie_word_embeddings=True, groups=(group,), embedding=(),
    )  # fmt: skip


def _cache(inputs: Inputs, presets: Presets) -> float:
    model = _model(inputs, presets)
    terms = cache_terms(whole(model), kv_format(inputs["dtype"], model.dtype))
    tokens, batch = inputs.get("tokens", 1), inputs.get("batch", 1)
    return float(batch * sum(term.bytes(tokens) for term in terms))


def _format_ratio(inputs: Inputs, _: Presets) -> float:
    before, after = (kv_format(inputs[name]).entry_bytes(HEAD) for name in ("before", "after"))
    return float(before / after)


def _head_ratio(inputs: Inputs, presets: Presets) -> Figure:
    shape = {"head_dim": HEAD, "dtype": "fp16"}
    many = _cache({**shape, "kv_heads": inputs["heads"]}, presets)
    few = [_cache({**shape, "kv_heads": n}, presets) for n in inputs["kv_heads"]]
    return one_or_all(tuple(many / n for n in few))


QUANTITIES: dict[str, Quantity] = {
    "cache": _cache,
    "format ratio": _format_ratio,
    "head ratio": _head_ratio,
    "block size": lambda _, __: float(Deployment().block_size),
}
