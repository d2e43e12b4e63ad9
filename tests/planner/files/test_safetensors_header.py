"""Headers of safetensors files and their index, written by hand."""

import json
import struct
from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.files.safetensors_header import read_header, read_index
from tests.planner.files.written import safetensors


def test_every_tensor_with_its_bytes() -> None:
    data = safetensors({"a.weight": ("BF16", (3, 5)), "b": ("F32", (7,)), "c": ("I64", ())})
    header = read_header(data + b"\0" * 100)
    assert [(t.name, t.dtype, t.shape, t.bytes) for t in header.tensors] == [
        ("a.weight", "BF16", (3, 5), 30), ("b", "F32", (7,), 28), ("c", "I64", (), 8),
    ]  # fmt: skip
    assert header.size == len(data) + 30 + 28 + 8


def test_four_bit_floats_take_half_a_byte() -> None:
    entry = {"dtype": "F4", "shape": [4, 32], "data_offsets": [0, 64]}
    assert read_header(raw({"w": entry})).tensors[0].bytes == 64


def raw(entries: Any) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8], **changes}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "too short"),
        (struct.pack("<Q", 2**40) + b"{}", "would have 1,099,511,627,776 bytes"),
        (b"version https://git-lfs.github.com/spec/v1", "it is no safetensors file"),
        (struct.pack("<Q", 500) + b"{", "give at least its first 508 bytes"),
        (struct.pack("<Q", 3) + b"{]}", "no JSON"),
        (raw([1]), "no JSON object"),
        (raw({"w": 1}), "w: its entry in the header is no object"),
        (raw({"w": entry(dtype="Q9")}), "w: dtype 'Q9'"),
        (raw({"w": entry(dtype=[])}), "w: dtype"),
        (raw({"w": entry(shape=[2, -2])}), "w: its shape"),
        (raw({"w": entry(shape=[2, True])}), "w: its shape"),
        (raw({"w": entry(data_offsets=[8, 0])}), "w: its data_offsets"),
        (raw({"w": entry(data_offsets=[0, 9])}), "w: its data_offsets hold 9 bytes"),
        (raw({"w": entry(), "v": entry(data_offsets=[9, 17])}), "v: its data_offsets leave a gap"),
        (raw({"w": entry(), "v": entry()}), "overlap"),
    ],
)
def test_broken_headers_are_refused_in_a_sentence(data: bytes, message: str) -> None:
    with pytest.raises(ConfigRefused, match=message.replace("(", r"\(")) as refused:
        read_header(data)
    assert "\n" not in str(refused.value)


def test_an_index_by_file() -> None:
    found = read_index(
        {"metadata": {"total_size": 12.0}, "weight_map": {"a": "1", "b": "2", "c": "1"}}
    )
    assert (found.total_size, found.files) == (12, {"1": ("a", "c"), "2": ("b",)})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"metadata": {"total_size": 1}}, "weight_map"),
        ({"metadata": {"total_size": 1}, "weight_map": {"a": 1}}, "weight_map"),
        ({"metadata": {"total_size": "1"}, "weight_map": {"a": "1"}}, "metadata.total_size"),
        ({"metadata": {"total_size": True}, "weight_map": {"a": "1"}}, "metadata.total_size"),
    ],
)
def test_an_index_that_says_too_little(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigRefused, match=message):
        read_index(document)


def test_a_tensor_is_there_once() -> None:
    text = b'{"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}, "a": 5}'
    with pytest.raises(ConfigRefused, match="a is given twice"):
        read_header(struct.pack("<Q", len(text)) + text)


@pytest.mark.parametrize("name", ["\ud800", "a\nb", "\x1b[31mred", "a\0b"])
def test_names_can_be_shown(name: str) -> None:
    """Half of a surrogate pair can be in JSON and in no answer; an escape speaks to a terminal."""
    for read in (
        lambda: read_header(raw({name: entry()})),
        lambda: read_index({"weight_map": {name: "a.safetensors"}}),
        lambda: read_index({"weight_map": {"a": name}}),
    ):
        with pytest.raises(ConfigRefused, match="cannot be shown") as refused:
            read()
        assert str(refused.value).isascii()
        assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "file", ["../other/a.safetensors", "/etc/passwd", "..", ".", "", "sub/a", "sub\\a"]
)
def test_an_index_names_no_file_elsewhere(file: str) -> None:
    with pytest.raises(ConfigRefused, match="no name of a file beside the index"):
        read_index({"weight_map": {"a": file}})


@pytest.mark.parametrize("size", [2**63, 10**400])
def test_sizes_that_no_file_has(size: int) -> None:
    """Two of them once ended in an OverflowError, where they were shown."""
    with pytest.raises(ConfigRefused, match="larger than any file"):
        read_header(raw({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}))
    with pytest.raises(ConfigRefused, match="is no number of bytes"):
        read_index({"metadata": {"total_size": size}, "weight_map": {"a": "b"}})
