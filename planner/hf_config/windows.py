"""Which tokens each layer keeps: every published way to write a window pattern."""

from typing import Literal, NamedTuple

from planner.hf_config.reader import Fields, short

Rule = Literal["none", "every", "qwen", "alternate", "pattern"]


class Keep(NamedTuple):
    """What one attention layer keeps: all tokens (window None), or a window of a type."""

    window: int | None = None
    type: Literal["sliding", "chunked"] = "sliding"


EVERYTHING = Keep()


def attention_windows(
    fields: Fields, num_hidden_layers: int, rule: Rule, *, window: int | None = None, period: int = 2
) -> list[Keep]:
    """One Keep per layer. window and period are the family's defaults where fields are absent.

    An explicit `layer_types` wins over a pattern. Rules: every layer slides; qwen: from
    max_window_layers on, if use_sliding_window; alternate: even layers slide; pattern: all but
    each period-th layer slide.
    """
    size = fields.optional("sliding_window")
    if size is None and fields.config.get("sliding_window", "absent") == "absent":
        size = window
    types = fields.sequence("layer_types", length=num_hidden_layers)
    enabled = fields.flag("use_sliding_window", default=rule != "qwen") if rule == "qwen" else True
    from_layer = fields.integer("max_window_layers", default=28, least=0) if rule == "qwen" else 0
    if rule == "pattern":
        period = fields.integer("sliding_window_pattern", "_sliding_window_pattern", default=period)
    if not enabled:
        size = None
    if types is not None:
        return [_named(fields, kind, size) for kind in types]
    if size is None:
        return [EVERYTHING] * num_hidden_layers
    keep = Keep(size)
    slides = {
        "none": lambda i: False,
        "every": lambda i: True,
        "qwen": lambda i: i >= from_layer,
        "alternate": lambda i: i % 2 == 0,
        "pattern": lambda i: (i + 1) % period != 0,
    }[rule]
    return [keep if slides(i) else EVERYTHING for i in range(num_hidden_layers)]


def _named(fields: Fields, kind: object, size: int | None) -> Keep:
    if kind in ("full_attention", "attention"):
        return EVERYTHING
    if kind == "sliding_attention":
        if size is None:
            raise fields.refuse("layer_types", "names sliding_attention, but no window is in force")
        return Keep(size)
    if kind == "chunked_attention":
        return Keep(fields.integer("attention_chunk_size"), "chunked")
    raise fields.refuse("layer_types", f"{short(kind)} is not understood for this model type")
