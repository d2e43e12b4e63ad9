"""Windows of families that name each layer's kind, with a rule of their own where they do not."""

from collections.abc import Callable

from planner.hf_config.layers.windows import EVERYTHING, Keep, named
from planner.hf_config.reader import Fields

Slides = Callable[[Fields, int], list[bool]]
"""Which of so many layers have a window."""


def typed_windows(fields: Fields, count: int, window: int | None, slides: Slides) -> list[Keep]:
    """One Keep per layer: `layer_types` if it is there, else what `slides` says.

    window is the family's default for an absent sliding_window; a null one means no window.
    """
    size = fields.optional("sliding_window")
    if size is None and not fields.given("sliding_window"):
        size = window
    flags = slides(fields, count)
    types = fields.sequence("layer_types", length=count)
    if types is not None:
        return [named(fields, kind, size) for kind in types]
    return [Keep(size) if size is not None and flag else EVERYTHING for flag in flags]


def qwen2_moe_slides(fields: Fields, count: int) -> list[bool]:
    slides = fields.flag("use_sliding_window", default=False)
    last = fields.integer("max_window_layers", default=28, least=0)
    return [slides and index % 2 == 0 and index < last for index in range(count)]


def qwen3_moe_slides(fields: Fields, count: int) -> list[bool]:
    fields.ignore("max_window_layers")
    return [fields.flag("use_sliding_window", default=False)] * count


def dots1_slides(fields: Fields, count: int) -> list[bool]:
    first = fields.integer("max_window_layers", default=62, least=0)
    fields.ignore("use_sliding_window")
    return [index >= first for index in range(count)]


def every_but(name: str, period: int) -> Slides:
    """All layers slide but each n-th, n under this name."""

    def slides(fields: Fields, count: int) -> list[bool]:
        every = fields.integer(name, default=period)
        return [(index + 1) % every != 0 for index in range(count)]

    return slides


def cohere2_moe_slides(fields: Fields, count: int) -> list[bool]:
    """The first, dense layers have a period of their own; then the period starts again."""
    dense = min(fields.integer("first_k_dense_replace", default=0, least=0), count)
    first = fields.integer("prefix_dense_sliding_window_pattern", default=1)
    every = fields.integer("sliding_window_pattern", default=4)
    slides = [(index + 1) % first != 0 for index in range(dense)]
    return slides + [(index + 1) % every != 0 for index in range(count - dense)]


def flint_slides(fields: Fields, count: int) -> list[bool]:
    return [not (i < 2 or i % 4 == 1 or i == count - 1) for i in range(count)]


def sixth_and_last_full(fields: Fields, count: int) -> list[bool]:
    return [(index + 1) % 6 != 0 and index != count - 1 for index in range(count)]


def fifth_full(fields: Fields, count: int) -> list[bool]:
    return [(index + 1) % 5 != 0 for index in range(count)]


def none(fields: Fields, count: int) -> list[bool]:
    return [False] * count
