"""The rotary layers of a model: how wide a part of a head turns, and by which parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.errors import PlanRefused
from planner.kinds.attention import Attention, LatentAttention
from planner.model import Model
from planner.rope.frequencies import kind_of

LOCAL = "sliding_attention"


@dataclass(frozen=True, slots=True)
class RotaryLayers:
    """Layers that turn alike. width: dimensions of a head that are turned; window: the widest of
    theirs, where windowed layers have parameters of their own."""

    width: int
    rope: Mapping[str, Any]
    window: int | None = None


def rotary_layers(model: Model) -> tuple[RotaryLayers, ...]:
    """Kinds of rotary layers, those that see everything first.

    Raises PlanRefused where the configuration does not say how they turn.
    """
    whole = dict(model.rope or {})
    if not whole.get("rope_theta"):
        raise PlanRefused(
            f"rope_theta is not in the configuration, and what the code of {model.model_type} "
            "assumes for it is not described: its frequencies cannot be told"
        )
    own = whole.pop(LOCAL, None)
    only_in_windows = whole.pop("only_in_windows", False)
    found: dict[tuple[int, bool], RotaryLayers] = {}
    for mixer in (mixer for group in model.groups for mixer in group.mixers):
        if not isinstance(mixer, Attention | LatentAttention):
            continue
        if only_in_windows and mixer.window is None:
            continue
        local = mixer.window is not None and (only_in_windows or own is not None)
        rope = dict(own or whole) if local else dict(whole)
        width = _width(mixer, rope)
        if rope.pop("rotary_dim", None) and "partial_rotary_factor" not in rope:
            rope["partial_rotary_factor"] = width / mixer.head_dim
        found.setdefault((width, local), RotaryLayers(width, rope, mixer.window if local else None))
    if not found:
        raise PlanRefused(f"which part of a head {model.model_type} turns is not described")
    return tuple(sorted(found.values(), key=lambda kind: kind.window is not None))


def _width(mixer: Attention | LatentAttention, rope: Mapping[str, Any]) -> int:
    if isinstance(mixer, LatentAttention):
        return mixer.qk_rope_head_dim
    if kind_of(rope) == "proportional":
        return mixer.head_dim
    if rope.get("rotary_dim"):
        return int(rope["rotary_dim"])
    return int(mixer.head_dim * float(rope.get("partial_rotary_factor") or 1.0))
