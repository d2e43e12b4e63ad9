"""A box for a whole number. Streamlit's own reads 1e3 as 1: it stops at the first letter."""

from typing import Any

import streamlit as st


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
