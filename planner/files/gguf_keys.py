"""The metadata of one architecture, key by key, which remembers what was asked for.

A key that nobody asked for and that is not known to be harmless is refused by name: it could change
memory.
"""

import re
from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused

HARMLESS = re.compile(
    r"""attention\.layer_norm(_rms)?_epsilon|attention\.scale|attention\.output_scale
    |(attn|final|router)_logit_softcapping|logit_scale|residual_scale|embedding_scale
    |expert_(weights_(scale|norm)|gating_func|group_count|group_used_count|group_scale)
    |rope\.scaling\.(type|factor|original_context_length|attn_factor|finetuned|alpha|yarn_.*)
    |rope\.(dimension_sections|dimension_count_swa|freq_base_swa)|xielu\..*|swiglu_clamp_(exp|shexp)
    |attention\.(temperature_(length|scale)|clamp_kqv|max_alibi_bias)|n_deepstack_layers
    |deepstack_mapping|tensor_data_layout""",
    re.VERBOSE,
)
"""Keys that change no weight and no cache; what scales positions is read apart."""


class Keys:
    """The keys of one architecture, which remembers what was asked for."""

    def __init__(self, metadata: Mapping[str, Any], architecture: str) -> None:
        self.metadata = metadata
        self.prefix = f"{architecture}."
        self.read: set[str] = set()

    def raw(self, key: str) -> Any:
        """A value as it stands, None where it is not there."""
        self.read.add(self.prefix + key)
        return self.metadata.get(self.prefix + key)

    def get(self, key: str) -> Any:
        """A value; of a list for every layer the one that it has, zeros aside, which stand where a
        layer lacks the part."""
        value = self.raw(key)
        if isinstance(value, list) and value:
            held = [item for item in value if item != 0] or value
            if all(item == held[0] for item in held):
                return held[0]
        return value

    def number(self, key: str) -> int | float | None:
        value = self.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.refuse(key, f"{str(value)[:40]} is not one number for all layers")
        return value

    def whole(self, key: str) -> int | None:
        value = self.number(key)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise self.refuse(key, f"{value} is not a whole number")
        return value

    def for_layers(self, key: str, count: int) -> list[int]:
        """A whole number for each of `count` layers."""
        value = self.raw(key)
        listed = value if isinstance(value, list) else [value] * count
        if len(listed) != count or any(type(n) is not int or n < 0 for n in listed):
            raise self.refuse(key, f"is no whole number for each of {count} layers")
        return listed

    def quotient(self, pair: str) -> int | None:
        """Of two keys "a/b", where both are there. Refused where it is not whole."""
        over, under = pair.split("/")
        top, bottom = self.whole(over), self.whole(under)
        if not top or not bottom:
            return None
        if top % bottom:
            raise self.refuse(over, f"is {top}, which {under} {bottom} does not divide")
        return top // bottom

    def needed(self, key: str) -> int:
        """A whole number above 0."""
        value = self.whole(key)
        if not value:
            raise self.refuse(key, "is missing, and the model cannot be sized without it")
        return value

    def refuse(self, key: str, why: str) -> ConfigRefused:
        name = self.prefix + key
        return ConfigRefused(f"{name} {why}", field=name)

    def finish(self) -> None:
        """Refuse keys that nobody asked for and that could change memory."""
        for name, value in self.metadata.items():
            own = name.removeprefix(self.prefix)
            harmless = own == name or HARMLESS.fullmatch(own) or value in (0, "", [])
            if name in self.read or harmless:
                continue
            raise ConfigRefused(
                f"{name[:80]} is not understood in a GGUF file of this architecture, and could "
                "change memory: give the config.json of its model instead",
                field=name,
            )
