"""Text of any origin as one safe line of a page."""


def as_sentence(text: str) -> str:
    """One line that ends with a stop; what looks like Markdown in it stays text."""
    line = " ".join(text.split())
    for mark in "\\`*_[]<>$#|~":
        line = line.replace(mark, f"\\{mark}")
    return line if line.endswith((".", "!", "?")) else f"{line}."
