"""Boxes for whole numbers: Streamlit's own reads 1e3 as 1 and 32k as 32, and says nothing."""

from typing import Any

import streamlit as st

from planner.units import format_tokens, parse_tokens


def whole(
    label: str, key: str, least: int, most: int, default: int | None, **drawn: Any
) -> int | None:
    """Draw the box; what it holds. A fraction is cut, and said to be. None: it is empty."""
    found: float | None = st.number_input(
        label,
        min_value=float(least),
        max_value=float(most),
        value=None if default is None else float(default),
        step=1.0,
        format="%g",
        key=key,
        **drawn,
    )
    if found is None:
        return None
    if found != int(found):
        st.error(f"{found:g} is not a whole number: {int(found)} is used.")
    return int(found)


def count(label: str, key: str, least: int, most: int, default: int, **drawn: Any) -> int:
    """The same for a box that is never empty: emptied, it holds its default."""
    found = whole(label, key, least, most, default, **drawn)
    return default if found is None else found


def tokens(
    label: str, key: str, least: int, most: int, default: int | None, **drawn: Any
) -> int | None:
    """A box for a number of tokens, typed as text: 32k means what it means to the command line.

    default where it is empty, or holds something else, which is said.
    """
    shown = "" if default is None else str(default)
    written = st.text_input(label, shown, max_chars=20, key=key, **drawn) or ""
    if not written.strip():
        return default
    try:
        found = parse_tokens(written)
        if least <= found <= most:
            return found
        wrong = f"{format_tokens(found)} is outside {format_tokens(least)} to {format_tokens(most)}"
    except ValueError as error:
        wrong = str(error)
    used = "the engine's own choice" if default is None else format_tokens(default)
    st.error(f"{wrong}. Used until then: {used}.")
    return default


def token_count(label: str, key: str, least: int, most: int, default: int, **drawn: Any) -> int:
    """The same for a box with a default."""
    found = tokens(label, key, least, most, default, **drawn)
    return default if found is None else found
