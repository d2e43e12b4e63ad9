"""One tensor as a weight file lists it."""

from dataclasses import dataclass

from planner.errors import ConfigRefused

MOST_BYTES = 2**63
"""No file has so many, nor so many elements: offsets and sizes are signed in every reader."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """shape is as PyTorch has it, outputs first; dtype by the name that the file's kind has."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


def checked_name(name: str) -> str:
    """The name as it stands. Raises ConfigRefused for one that cannot be shown."""
    if name.isprintable():
        return name
    raise ConfigRefused(
        f"{name[:40]!a}: this name has characters that cannot be shown, which no checkpoint has"
    )
