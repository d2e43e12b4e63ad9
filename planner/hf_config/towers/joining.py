"""What joins a tower to the text decoder: widths that must agree, and projectors of two layers."""

from collections.abc import Sequence

from planner.hf_config.reader import LARGEST, Fields, short
from planner.tensors import Weight, linear


def joins(fields: Fields, name: str, text_hidden_size: int, *, default: int) -> None:
    """Refuse a tower whose tokens are not as wide as the text model's."""
    if fields.integer(name, default=default) != text_hidden_size:
        raise fields.refuse(name, f"is not the text model's {text_hidden_size}")


def two_numbers(
    fields: Fields, name: str, *, default: Sequence[int] = (), most: int = LARGEST
) -> tuple[int, int]:
    """Two widths or sides."""
    found = fields.sequence(name) or default
    if len(found) != 2 or not all(type(n) is int and 0 < n <= most for n in found):
        raise fields.refuse(name, f"{short(found)} is not two whole numbers")
    return found[0], found[1]


def two_layers(wide: int, inner: int, out: int, *, bias: bool = True) -> tuple[Weight, ...]:
    """A projector of two layers."""
    found = linear("projector.linear_1", inner, wide, bias=bias)
    return found + linear("projector.linear_2", out, inner, bias=bias)
