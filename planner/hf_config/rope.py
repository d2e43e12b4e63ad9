"""What a configuration says about positions: rotary scaling, ALiBi, or neither."""

import math
from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused
from planner.hf_config import rope_defaults as assumed
from planner.hf_config.reader import short

ALIBI_TYPES = ("bloom",)
"""Families whose published code has no other choice."""
KEPT = {
    "rope_theta": ("rope_theta", "rotary_emb_base"),
    "partial_rotary_factor": ("partial_rotary_factor", "rotary_pct"),
    "rotary_dim": ("rotary_dim",),
    "original_max_position_embeddings": ("original_max_position_embeddings",),
}
"""Names as rope_parameters has them, and the ones that files give them beside it."""
TYPES = (
    "default", "linear", "dynamic", "ntk", "yarn", "deepseek_yarn", "longrope", "su", "llama3",
    "mrope", "proportional", "axial", "none",
)  # fmt: skip
"""Kinds of rotary scaling that engines know; how far positions reach hangs on them."""
LARGEST_FACTOR = 1e6


def rope_of(text: Mapping[str, Any]) -> dict[str, Any] | None:
    """The scaling object as published, with theta, rotated part and original length beside it, the
    family's own where they are left out; {"alibi": True} for attention biased by distance, type
    "none" where it encodes no positions; None where nothing is known.

    Where layer types have objects of their own, it is that of the layers that see everything;
    `sliding_attention` in it is the windowed layers'.
    """
    attention = text.get("attn_config")
    nested = isinstance(attention, Mapping) and attention.get("alibi")
    if text.get("alibi") or nested or text.get("model_type") in ALIBI_TYPES:
        return {"alibi": True}
    for name in ("rope_parameters", "rope_scaling"):
        if text.get(name) is not None and not isinstance(text[name], Mapping):
            raise ConfigRefused(f"{name}: {short(text[name])} is not an object", field=name)
    if _encodes_none(text):
        return {"rope_type": "none"}
    found = text.get("rope_parameters") or text.get("rope_scaling")
    local = None
    if isinstance(found, Mapping) and isinstance(found.get("full_attention"), Mapping):
        local = found.get("sliding_attention")
        found = found["full_attention"]
    rope = dict(found) if isinstance(found, Mapping) else {}
    for name, written in KEPT.items():
        value = next((text[field] for field in written if text.get(field) is not None), None)
        if value is not None:
            rope.setdefault(name, value)
    _check(rope)
    if isinstance(local, Mapping):
        _check(local)
        rope["sliding_attention"] = dict(local)
    _assume(rope, text)
    return rope or None


def _encodes_none(text: Mapping[str, Any]) -> bool:
    """Whether the attention layers know no positions at all."""
    without = text.get("position_embedding_type") == "nope" or text.get("mla_use_nope") is True
    return without or text.get("model_type") in assumed.NO_POSITIONS


def _assume(rope: dict[str, Any], text: Mapping[str, Any]) -> None:
    """Fill in what the family's class says of fields that the file leaves out."""
    family = str(text.get("model_type"))
    if family in assumed.NOT_ROTARY or family in assumed.UNDESCRIBED:
        return
    rope.setdefault("rope_theta", assumed.THETAS.get(family, assumed.THETA))
    if family in assumed.PARTIAL:
        rope.setdefault("partial_rotary_factor", assumed.PARTIAL[family])
    if family in assumed.LOCAL_THETA:
        theta = text.get("rope_local_base_freq") or assumed.LOCAL_THETA[family]
        rope.setdefault("sliding_attention", {"rope_type": "default", "rope_theta": theta})
    if family in assumed.ONLY_IN_WINDOWS:
        rope["only_in_windows"] = True


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
        ("partial_rotary_factor", math.nextafter(1.0, 2.0)),
        ("rotary_dim", 2**16),
    ):
        value = rope.get(name)
        for number in value if isinstance(value, list) and name == "rope_theta" else [value]:
            real = isinstance(number, (int, float)) and not isinstance(number, bool)
            if number is not None and not (real and 0 < number < largest):
                most = " and up to 1" if name == "partial_rotary_factor" else ""
                raise ConfigRefused(
                    f"{name}: {short(number)} is not a number above 0{most}", field=name
                )
