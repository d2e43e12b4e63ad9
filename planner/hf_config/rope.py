"""What a configuration says about positions: rotary scaling, ALiBi, or neither."""

import math
from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused
from planner.hf_config.reader import short

ALIBI_TYPES = ("bloom",)
"""Families whose published code has no other choice."""
KEPT = ("rope_theta", "original_max_position_embeddings")
TYPES = (
    "default", "linear", "dynamic", "ntk", "yarn", "deepseek_yarn", "longrope", "su", "llama3",
    "mrope", "proportional", "axial", "none",
)  # fmt: skip
"""Kinds of rotary scaling that engines know; how far positions reach hangs on them."""
LARGEST_FACTOR = 1e6


def rope_of(text: Mapping[str, Any]) -> dict[str, Any] | None:
    """The scaling object as published, with theta and original length beside it; {"alibi": True}
    for attention biased by distance; None where the configuration says nothing.

    Where layer types have objects of their own, it is that of the layers that see everything.
    """
    attention = text.get("attn_config")
    nested = isinstance(attention, Mapping) and attention.get("alibi")
    if text.get("alibi") or nested or text.get("model_type") in ALIBI_TYPES:
        return {"alibi": True}
    for name in ("rope_parameters", "rope_scaling"):
        if text.get(name) is not None and not isinstance(text[name], Mapping):
            raise ConfigRefused(f"{name}: {short(text[name])} is not an object", field=name)
    found = text.get("rope_parameters") or text.get("rope_scaling")
    if isinstance(found, Mapping) and isinstance(found.get("full_attention"), Mapping):
        found = found["full_attention"]
    rope = dict(found) if isinstance(found, Mapping) else {}
    for name in KEPT:
        if text.get(name) is not None:
            rope.setdefault(name, text[name])
    _check(rope)
    return rope or None


def _check(rope: Mapping[str, Any]) -> None:
    """Refuse a kind of scaling that is unknown and numbers that no scaling can have."""
    for name in ("rope_type", "type"):
        kind = rope.get(name)
        if kind is not None and kind not in TYPES:
            raise ConfigRefused(
                f"{name}: {short(kind)} is not a rotary scaling Sizewell knows", field=name
            )
    for name, largest in (
        ("factor", LARGEST_FACTOR),
        ("original_max_position_embeddings", 2**31),
        ("rope_theta", math.inf),
    ):
        value = rope.get(name)
        for number in value if isinstance(value, list) and name == "rope_theta" else [value]:
            real = isinstance(number, (int, float)) and not isinstance(number, bool)
            if number is not None and not (real and 0 < number < largest):
                raise ConfigRefused(f"{name}: {short(number)} is not a number above 0", field=name)
