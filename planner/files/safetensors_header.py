"""The header of a .safetensors file, and the index of several.

    tensors = read_header(first_bytes).tensors

Source: the format's description in safetensors' README.md, and its limits and dtypes in
safetensors/src/tensor.rs (MAX_HEADER_SIZE, Dtype).
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from planner.errors import ConfigRefused
from planner.files.tensor import MOST_BYTES, StoredTensor, checked_name
from planner.json_names import named_once

if TYPE_CHECKING:
    from mmap import mmap

MAX_HEADER_BYTES = 100_000_000
BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FileHeader:
    """size: bytes of the whole file as its header says."""

    tensors: tuple[StoredTensor, ...]
    size: int


def read_header(data: "bytes | mmap") -> FileHeader:
    """The header of the file that `data` begins.

    Raises ConfigRefused, one sentence, where it is cut, absurdly long or contradicts itself.
    """
    if len(data) < 8:
        raise ConfigRefused("it is too short to be a safetensors file")
    (length,) = struct.unpack_from("<Q", data)
    if length > MAX_HEADER_BYTES:
        raise ConfigRefused(
            f"its header would have {length:,} bytes, and safetensors allows "
            f"{MAX_HEADER_BYTES:,}: it is no safetensors file"
        )
    if 8 + length > len(data):
        raise ConfigRefused(
            f"its header has {length:,} bytes, and only {len(data) - 8:,} are here: give at least "
            f"its first {8 + length:,} bytes"
        )
    try:
        entries = json.loads(data[8 : 8 + length], object_pairs_hook=named_once)
    except (ValueError, RecursionError):
        raise ConfigRefused("its header is no JSON: it is no safetensors file") from None
    if not isinstance(entries, dict):
        raise ConfigRefused("its header is no JSON object: it is no safetensors file")
    found, spans = [], []
    for name, entry in entries.items():
        if name != "__metadata__":
            tensor, span = _tensor(name, entry)
            found.append(tensor)
            spans.append((*span, name))
    end = 0
    for start, stop, name in sorted(spans):
        if start != end:
            raise ConfigRefused(f"{name[:80]}: its data_offsets leave a gap or overlap")
        end = stop
    return FileHeader(tuple(found), 8 + length + end)


def _tensor(name: str, entry: Any) -> tuple[StoredTensor, tuple[int, int]]:
    short = checked_name(name)[:80]
    if not isinstance(entry, Mapping):
        raise ConfigRefused(f"{short}: its entry in the header is no object")
    dtype: Any = entry.get("dtype")
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    bits = BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise ConfigRefused(f"{short}: dtype {str(dtype)[:40]!r} is none that Sizewell knows")
    if not _whole(shape):
        raise ConfigRefused(f"{short}: its shape is no list of whole numbers")
    if not _whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ConfigRefused(f"{short}: its data_offsets are no two whole numbers in order")
    size = offsets[1] - offsets[0]
    if offsets[1] >= MOST_BYTES or any(n >= MOST_BYTES for n in shape):
        raise ConfigRefused(f"{short}: its shape or data_offsets are larger than any file")
    if size * 8 != prod(shape) * bits:
        raise ConfigRefused(
            f"{short}: its data_offsets hold {size:,} bytes, which is not what {dtype} of its "
            "shape takes"
        )
    return StoredTensor(name, str(dtype), tuple(shape), size), (offsets[0], offsets[1])


def _whole(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


@dataclass(frozen=True, slots=True)
class Index:
    """Names of tensors by the file that holds them, and the bytes of all, None where not said."""

    total_size: int | None
    files: dict[str, tuple[str, ...]]


def read_index(document: Mapping[str, Any]) -> Index:
    """The parts of a model.safetensors.index.json. Raises ConfigRefused naming what is wrong."""
    names, metadata = document.get("weight_map"), document.get("metadata")
    if not isinstance(names, Mapping) or not all(isinstance(f, str) for f in names.values()):
        raise ConfigRefused("weight_map is no object that names a file for every tensor")
    total: Any = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if total is not None and (type(total) is not int or not 0 < total < MOST_BYTES):
        raise ConfigRefused(f"metadata.total_size: {str(total)[:40]!r} is no number of bytes")
    files: dict[str, list[str]] = {}
    for name, file in names.items():
        if checked_name(file) != file.replace("\\", "/").rpartition("/")[2] or file in (
            "",
            ".",
            "..",
        ):
            raise ConfigRefused(
                f"weight_map: {file[:80]!r} is no name of a file beside the index, where all of "
                "them stand"
            )
        files.setdefault(file, []).append(checked_name(name))
    return Index(total, {file: tuple(held) for file, held in files.items()})
