"""One tensor as a weight file lists it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """shape is as PyTorch has it, outputs first; dtype by the name that the file's kind has."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
