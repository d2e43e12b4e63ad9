"""The header of a .gguf file: its metadata and its list of tensors.

    header = read_header(first_bytes)
    header.metadata["general.architecture"], header.tensors

Source: ggml's docs/gguf.md and llama.cpp's gguf-py/gguf/constants.py (GGUFValueType).
"""

import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from planner.errors import ConfigRefused
from planner.files.tensor import MOST_BYTES, StoredTensor, checked_name
from planner.formats.ggml_types import ggml_type
from planner.units import round_up

if TYPE_CHECKING:
    from mmap import mmap

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
STRING, ARRAY = 8, 9
MOST_PAIRS, MOST_TENSORS, MOST_DIMENSIONS = 65_536, 1_000_000, 4
MOST_ENTRIES = 2**24
MOST_HEADER_BYTES = 2**27
"""Several times what the largest vocabulary takes."""
KEPT = 4096
"""Longer arrays, such as a vocabulary, are skipped; their length is kept in a range."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """size: bytes of the whole file as its header says."""

    metadata: dict[str, Any]
    tensors: tuple[StoredTensor, ...]
    size: int


def read_header(data: "bytes | mmap") -> GgufHeader:
    """The header of the file that `data` begins.

    Raises ConfigRefused, one sentence, where it is cut, absurd or of a type that is not known.
    """
    if data[:4] != MAGIC:
        raise ConfigRefused("it does not begin as a GGUF file does")
    reader = _Reader(data, 4)
    version = reader.number("I")
    if version not in VERSIONS:
        swapped = int.from_bytes(struct.pack("<I", version), "big") in VERSIONS
        why = "is big-endian" if swapped else f"has GGUF version {version}"
        raise ConfigRefused(
            f"it {why}, and little-endian versions 2 and 3 can be read: convert the model again"
        )
    count, pairs = reader.number("Q"), reader.number("Q")
    if count > MOST_TENSORS or pairs > MOST_PAIRS:
        raise ConfigRefused(
            f"its header counts {count:,} tensors and {pairs:,} pairs of metadata, which no model "
            "has: it is no whole GGUF file"
        )
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = checked_name(reader.text())
        if not key:
            raise ConfigRefused("its header has a key without a name: it is no whole GGUF file")
        if key in metadata:
            raise ConfigRefused(f"{key[:80]} is given twice")
        metadata[key] = reader.value(key, reader.number("I"))
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment % 8:
        raise ConfigRefused("general.alignment is no multiple of 8")
    tensors, spans = [], []
    for _ in range(count):
        tensor, offset = _tensor(reader)
        tensors.append(tensor)
        spans.append((offset, offset + tensor.bytes, tensor.name))
    end = 0
    for start, stop, name in sorted(spans):
        if start < end or start % alignment:
            raise ConfigRefused(f"{name[:80]}: its offset overlaps another tensor or is unaligned")
        end = stop
    if len({tensor.name for tensor in tensors}) < len(tensors):
        raise ConfigRefused("two of its tensors have one name")
    return GgufHeader(metadata, tuple(tensors), round_up(reader.at, alignment) + end)


def _tensor(reader: "_Reader") -> tuple[StoredTensor, int]:
    name = checked_name(reader.text())
    dimensions = reader.number("I")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise ConfigRefused(f"{name[:80]}: it would have {dimensions:,} dimensions")
    shape = tuple(reversed([reader.number("Q") for _ in range(dimensions)]))
    number = reader.number("I")
    try:
        kind = ggml_type(number)
    except ConfigRefused as refused:
        raise ConfigRefused(f"{name[:80]}: {refused}") from None
    elements = prod(shape)
    if not 0 < elements < MOST_BYTES or shape[-1] % kind.block:
        raise ConfigRefused(
            f"{name[:80]}: rows of {shape[-1]:,} are not whole {kind.name} blocks of {kind.block}"
        )
    size = elements // kind.block * kind.block_bytes
    return StoredTensor(name, kind.name, shape, size), reader.number("Q")


class _Reader:
    """Values of a header one after another."""

    def __init__(self, data: "bytes | mmap", at: int) -> None:
        self.data = data
        self.at = at

    def _advance(self, size: int) -> int:
        start = self.at
        if start + size > MOST_HEADER_BYTES:
            raise ConfigRefused("its header is longer than any that a model has")
        if start + size > len(self.data):
            raise ConfigRefused(
                f"its header goes on beyond the {len(self.data):,} bytes that are here: give a "
                "longer first part of the file"
            )
        self.at = start + size
        return start

    def number(self, code: str) -> Any:
        start = self._advance(struct.calcsize("<" + code))
        return struct.unpack_from("<" + code, self.data, start)[0]

    def text(self) -> str:
        length = self.number("Q")
        start = self._advance(length)
        return self.data[start : start + length].decode("utf-8", "replace")

    def value(self, key: str, kind: int) -> Any:
        """One value; of an array that is too long to keep, the range of its positions."""
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            raise ConfigRefused(f"{key[:80]}: value type {kind} is none that GGUF has")
        inner, length = self.number("I"), self.number("Q")
        if inner not in SCALARS and inner != STRING:
            raise ConfigRefused(f"{key[:80]}: an array of value type {inner} is not understood")
        if length > MOST_ENTRIES:
            raise ConfigRefused(f"{key[:80]}: it would have {length:,} entries")
        if length <= KEPT:
            return [self.value(key, inner) for _ in range(length)]
        if inner == STRING:
            for _ in range(length):
                self._advance(self.number("Q"))
        else:
            self._advance(length * struct.calcsize("<" + SCALARS[inner]))
        return range(length)
