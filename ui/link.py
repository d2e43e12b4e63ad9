"""What a link asked for and did not get: a typing error must not plan another model in silence."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from planner.errors import SizewellError
from ui.inputs import OUTCOME
from ui.saved import DEFAULTS
from ui.sentence import as_sentence

ASKED = "link_asked"
IGNORED = "link_ignored"


def read() -> None:
    """Keep what the link says, before the widgets drop what they cannot take."""
    if ASKED not in st.session_state:
        asked = {name: st.query_params.get_all(name) for name in st.query_params}
        st.session_state[ASKED] = asked
        st.session_state[IGNORED] = None


def complain() -> None:
    """One sentence about what the link asked for in vain; call it after the page was drawn.

    A sentence about an input goes away when that input changes.
    """
    if st.session_state[IGNORED] is None:
        st.session_state[IGNORED] = ignored(
            st.session_state[ASKED],
            {name: st.query_params.get_all(name) for name in st.query_params},
            st.session_state,
            drawn=not isinstance(st.session_state[OUTCOME], SizewellError),
        )
    wrong, unknown = st.session_state[IGNORED]
    wrong = {k: v for k, v in wrong.items() if k in st.session_state and st.session_state[k] == v}
    if sentence := say(st.session_state[ASKED], wrong, unknown):
        st.warning(as_sentence(sentence), icon=":material/link_off:")


def ignored(
    asked: Mapping[str, Sequence[str]],
    left: Mapping[str, Sequence[str]],
    held: Any,
    *,
    drawn: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Inputs that hold another value than asked for, with that value, and names of no input.

    asked, left: the link's parameters before and after the widgets read it; held: the session's
    values by name; drawn: False where a refusal may have kept some inputs from the page.
    """
    wrong, unknown = {}, []
    for name, values in asked.items():
        if name in held:
            if left.get(name, []) != values and not _same(values, held[name]):
                wrong[name] = held[name]
        elif drawn and name not in DEFAULTS:
            unknown.append(name)
    return wrong, unknown


def _same(asked: Sequence[str], value: Any) -> bool:
    if isinstance(value, list | tuple):
        return sorted(asked) == sorted(map(str, value))
    text = asked[-1]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text.lower() == ("" if value is None else str(value).lower())
    try:
        return float(text) == value
    except ValueError:
        return False


def say(asked: Mapping[str, Sequence[str]], wrong: Mapping[str, Any], unknown: list[str]) -> str:
    """The sentence, or nothing."""
    parts = []
    for name, value in wrong.items():
        empty = value is None or value == []
        used = f"{name} is empty" if empty else f"{_pair(name, [_words(value)])} is used"
        parts.append(f"The link asks for {_pair(name, asked[name])}, {_why(asked[name], value)}: "
                     f"{used}")  # fmt: skip
    if unknown:
        names = _list([_pair(name, asked[name]) for name in unknown])
        verb = "names no input" if len(unknown) == 1 else "name no inputs"
        parts.append(f"{names} in the link {verb} of this page and had no effect")
    return ". ".join(parts)


def _why(values: Sequence[str], value: Any) -> str:
    """What is wrong with the values, going by the one that is used instead."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return "which is not known here"
    try:
        float(values[-1])
    except ValueError:
        return "which is not a number"
    return "which is outside what that input takes"


def _pair(name: str, values: Sequence[str]) -> str:
    text = f"{name}={','.join(values)}"
    return text if len(text) <= 60 else f"{text[:59]}…"


def _words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
