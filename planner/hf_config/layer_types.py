"""Windows of families that name each layer's kind, with a rule of their own where they do not."""

from collections.abc import Callable

from planner.hf_config.reader import Fields
from planner.hf_config.windows import EVERYTHING, Keep, named

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
