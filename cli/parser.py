"""argparse as this command line wants it: one line an error, finite numbers, defaults in help."""

import argparse
import re
import sys
from math import nan
from typing import Any, NoReturn

MOST = 10**18
"""A larger number is a slip, and overflows somewhere later."""


class Parser(argparse.ArgumentParser):
    """argparse, with errors in one line and no guessing at shortened flags."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": Help, **settings, "allow_abbrev": False})
        self._negative_number_matcher = re.compile(r"-[\d.]")  # -8k is a value, no flag
        self.register("type", int, whole)
        self.register("type", float, number)

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {' '.join(message.split())}\n")
        sys.exit(2)

    def refuse(self, word: str) -> NoReturn:
        """Say that `word` is no flag here, and which is spelt almost like it."""
        from difflib import get_close_matches

        from cli.other_names import ours

        flag, known = word.partition("=")[0], self._option_string_actions
        near = ours(flag, known) or get_close_matches(flag, known, n=2)
        self.error(
            f"unrecognized argument {word[:80]!r}"
            + (f": did you mean {' or '.join(near)}?" if near else "; --help lists what there is")
        )


class Help(argparse.HelpFormatter):
    """Help that ends in a flag's default, where it has one worth saying."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, value = action.help, action.default
        if not text or isinstance(value, bool) or not isinstance(value, int | float | str):
            return text
        return text if value in ("", argparse.SUPPRESS) else f"{text} (default: %(default)s)"


def whole(text: str) -> int:
    """int() with a sentence of its own."""
    return int(_read(text, int, "whole number"))


def number(text: str) -> float:
    """float() without infinities and NaN, which nothing here is."""
    return _read(text, float, "number")


def _read(text: str, kind: type[int] | type[float], name: str) -> float:
    try:
        found = kind(text)
    except ValueError:
        found = nan
    if not abs(found) <= MOST:
        why = f"no {name}" if found != found else "too large"
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is {why}")
    return found
