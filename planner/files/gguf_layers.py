"""What each layer of a GGUF file is: by the tensors it has, and by the window it keeps."""

import re
from collections.abc import Mapping
from math import gcd
from typing import Any

from planner.files.gguf_architecture import Architecture
from planner.files.gguf_keys import Keys

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by name, outputs first."""
LAYER = re.compile(r"blk\.(\d+)\.(.+)")


def layers_with(shapes: Shapes, stem: str) -> set[int]:
    """The layers that have a tensor of this name."""
    found = (LAYER.fullmatch(name) for name in shapes)
    return {int(match[1]) for match in found if match is not None and match[2] == stem}


def kinds_of(keys: Keys, found: Architecture, shapes: Shapes, count: int) -> list[str]:
    """What each of `count` layers is called, by the first of the architecture's tensors it has."""
    by_stem = [(kind, layers_with(shapes, stem)) for stem, kind in found.kinds.items()]
    named = []
    for index in range(count):
        kind = next((kind for kind, layers in by_stem if index in layers), None)
        if kind is None:
            raise keys.refuse(
                "block_count",
                f"is {count}, and layer {index} has none of {', '.join(found.kinds)}",
            )
        named.append(kind)
    return named


def every(keys: Keys, key: str, layers: set[int], count: int) -> tuple[int, int]:
    """Period and offset of the layers that `layers` names. Refused where there are none."""
    if not layers or max(layers) >= count:
        raise keys.refuse(key, "names no layer of one kind that the model needs")
    first, *rest = sorted(layers)
    period = gcd(*(index - first for index in rest)) if rest else count
    if [i for i in range(count) if i % period == first % period] != sorted(layers):
        raise keys.refuse(key, "is no even period, which is all that its configuration can say")
    return period, first % period


def windows(keys: Keys, config: dict[str, Any], found: Architecture) -> None:
    """Which layers slide: all but one of each period, or as a list for every layer says."""
    key, pattern_key = "attention.sliding_window", "attention.sliding_window_pattern"
    window, pattern = keys.whole(key), keys.raw(pattern_key)
    config["sliding_window"] = None
    if not found.period:
        if window and found.model_type == "phi3":
            config["sliding_window"] = window
        elif window:
            raise keys.refuse(key, "is not understood here")
        return
    if found.model_type == "gpt_oss":
        keys.needed(key)  # which llama.cpp does not load it without
    count = config["num_hidden_layers"]
    if window is None or (window and found.chunked):
        window = found.window
    if not window:
        if found.chunked:
            config["layer_types"] = ["full_attention"] * count
        return
    config["attention_chunk_size" if found.chunked else "sliding_window"] = window
    if isinstance(pattern, list):
        if len(pattern) not in (count, keys.whole("block_count")):
            raise keys.refuse(pattern_key, f"does not describe {count} layers")
        if any(slide not in (0, 1) for slide in pattern):
            raise keys.refuse(pattern_key, "is no list of yes and no")
        slides = [bool(slide) for slide in pattern[:count]]
    else:
        period = keys.whole(pattern_key)
        period = found.period if period is None else period
        full = 0 if found.first else period - 1
        slides = [not period or index % period != full for index in range(count)]
    if found.model_type == "olmo2":
        config["model_type"] = "olmo3"  # llama.cpp has one architecture for both
    short = "chunked_attention" if found.chunked else "sliding_attention"
    config["layer_types"] = [short if slide else "full_attention" for slide in slides]
