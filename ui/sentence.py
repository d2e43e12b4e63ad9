"""Text of any origin as one safe line of a page."""

import re

WORD = re.compile(r"[a-z]+(?=[ ,])")
"""A first word that is no field's name, path or model, so that it may take a capital."""


def as_sentence(text: str) -> str:
    """One line with a capital and a stop; what looks like Markdown in it stays text."""
    line = " ".join(text.split())
    if WORD.match(line):
        line = line[0].upper() + line[1:]
    for mark in "\\`*_[]<>$#|~":
        line = line.replace(mark, f"\\{mark}")
    return line if line.endswith((".", "!", "?")) else f"{line}."
