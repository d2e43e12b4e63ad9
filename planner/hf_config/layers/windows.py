"""Which tokens each layer keeps: every published way to write a window pattern."""

from typing import Literal, NamedTuple

from planner.hf_config.reader import Fields, short

Rule = Literal[
    "none", "every", "qwen", "alternate", "pattern", "first", "last", "backward", "without_rope",
    "typed",
]  # fmt: skip


class Keep(NamedTuple):
    """What one attention layer keeps: all tokens (window None), or a window of a type."""

    window: int | None = None
    type: Literal["sliding", "chunked"] = "sliding"


EVERYTHING = Keep()


def attention_windows(
    fields: Fields,
    num_hidden_layers: int,
    rule: Rule,
    *,
    window: int | None = None,
    period: int = 2,
) -> list[Keep]:
    """One Keep per layer. window and period are the family's defaults where fields are absent.

    An explicit `layer_types` wins over a pattern. Rules: every layer slides; qwen: from
    max_window_layers on, if use_sliding_window; alternate: even layers slide; pattern: all but
    each period-th layer slide; first, last: all but that of each period; backward: as last, with
    periods that end at the last layer; without_rope: layers without rotary positions slide, if
    use_sliding_window; typed: layer_types alone says it; none: the family knows no window, so a
    `sliding_window` is left unread and refused.
    """
    size = window_size(fields, rule, window)
    types = fields.sequence("layer_types", length=num_hidden_layers)
    slides = [size is not None and rule != "none"] * num_hidden_layers
    if rule == "qwen":
        from_layer = fields.integer("max_window_layers", default=28, least=0)
        slides = [index >= from_layer for index in range(num_hidden_layers)]
    elif rule == "alternate":
        slides = [index % 2 == 0 for index in range(num_hidden_layers)]
    elif rule == "pattern":
        slides = pattern(fields, num_hidden_layers, period)
    elif rule == "first":
        slides = [index % period != 0 for index in range(num_hidden_layers)]
    elif rule == "last":
        fields.expect("sliding_window_pattern", period)
        slides = [(index + 1) % period != 0 for index in range(num_hidden_layers)]
    elif rule == "backward":
        slides = [(num_hidden_layers - 1 - i) % period != 0 for i in range(num_hidden_layers)]
    elif rule == "typed":
        slides = [False] * num_hidden_layers
    elif rule == "without_rope":
        slides = [not rope for rope in rope_layers(fields, num_hidden_layers)]
    if types is not None:
        return [named(fields, kind, size) for kind in types]
    keep = EVERYTHING if size is None else Keep(size)
    return [keep if slide else EVERYTHING for slide in slides]


def window_size(fields: Fields, rule: Rule, default: int | None) -> int | None:
    """The window in force, or None. A null `sliding_window` means none, an absent one `default`."""
    if rule == "none":
        return None
    switched = rule in ("qwen", "without_rope")
    if switched and not fields.flag("use_sliding_window", default=False):
        fields.optional("sliding_window", least=0)
        return None
    size = fields.optional("sliding_window")
    if size is None and not fields.given("sliding_window"):
        size = default
    if switched:
        return size
    if size is not None and fields.raw("use_sliding_window") is False:
        raise fields.refuse(
            "use_sliding_window", "is false, but this model type always uses its sliding_window"
        )
    return size


def pattern(fields: Fields, num_hidden_layers: int, period: int) -> list[bool]:
    """Whether each layer slides, from a period (all but each n-th slide) or letters ("LLLG").

    Letters repeat over the layers: L slides, G keeps everything; the last layer keeps everything.
    """
    name, saved = "sliding_window_pattern", fields.raw("_sliding_window_pattern")
    written = fields.raw(name)
    if saved not in (None, period if written is None else written) and "layer_types" not in fields:
        raise fields.refuse(
            "_sliding_window_pattern", f"{short(saved)} is not {name}, which counts"
        )
    if isinstance(written, str):
        if not written or set(written) - {"L", "G"}:
            raise fields.refuse(name, f"{short(written)} is not a text of the letters L and G")
        last = num_hidden_layers - 1
        return [written[i % len(written)] == "L" and i != last for i in range(num_hidden_layers)]
    every = fields.integer(name, default=period)
    return [(index + 1) % every != 0 for index in range(num_hidden_layers)]


def rope_layers(fields: Fields, num_hidden_layers: int) -> list[bool]:
    """Whether each layer has rotary positions: `no_rope_layers` (1 = has), or its interval."""
    interval = fields.integer("no_rope_layer_interval", default=4)
    if fields.raw("no_rope_layers") in (None, []):
        return [(index + 1) % interval != 0 for index in range(num_hidden_layers)]
    written = fields.sequence("no_rope_layers", length=num_hidden_layers) or []
    if any(value not in (0, 1) for value in written):
        raise fields.refuse("no_rope_layers", "holds something other than 0 and 1")
    return [value == 1 for value in written]


def named(fields: Fields, kind: object, size: int | None) -> Keep:
    if kind in ("full_attention", "attention"):
        return EVERYTHING
    if kind == "sliding_attention":
        if size is None:
            raise fields.refuse("layer_types", "names sliding_attention, but no window is in force")
        return Keep(size)
    if kind == "chunked_attention":
        return Keep(fields.integer("attention_chunk_size"), "chunked")
    raise fields.refuse("layer_types", f"{short(kind)} is not understood for this model type")
