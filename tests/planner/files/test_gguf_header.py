"""Headers of GGUF files, written by hand from ggml's docs/gguf.md."""

import struct

import pytest

from planner.errors import ConfigRefused
from planner.files.gguf_header import read_header
from tests.planner.files.written import gguf, pair, text

METADATA = {
    "general.architecture": "llama", "llama.block_count": 1, "llama.rope.freq_base": 5e5,
    "llama.flag": True, "llama.heads": [1, 2, 3], "tokenizer.ggml.tokens": ["ab", "c"] * 3000,
    "llama.last": 7,
}  # fmt: skip
TENSORS = {"a": ("q4_k", (4, 512)), "b": ("f32", (3,)), "c": ("mxfp4", (2, 3, 64))}


def test_metadata_and_tensors() -> None:
    data = gguf(METADATA, TENSORS)
    header = read_header(data)
    assert header.metadata["general.architecture"] == "llama"
    assert header.metadata["llama.rope.freq_base"] == 5e5
    assert header.metadata["llama.flag"] is True
    assert header.metadata["llama.heads"] == [1, 2, 3]
    assert len(header.metadata["tokenizer.ggml.tokens"]) == 6000  # skipped, and counted
    assert header.metadata["llama.last"] == 7
    assert [(t.name, t.dtype, t.shape, t.bytes) for t in header.tensors] == [
        ("a", "q4_k", (4, 512), 8 * 144), ("b", "fp32", (3,), 12), ("c", "mxfp4", (2, 3, 64), 204),
    ]  # fmt: skip
    assert header.size == len(data) + 8 * 144 + 32 + 204


def test_a_longer_alignment_moves_the_data() -> None:
    data = gguf({"general.alignment": 4096}, {"b": ("f32", (3,))})
    assert read_header(data).size == 4096 + 12


def test_a_header_is_all_that_is_needed() -> None:
    data = gguf(METADATA, TENSORS)
    end = len(data.rstrip(b"\0"))
    for length in range(0, end - 40, 997):
        with pytest.raises(ConfigRefused):
            read_header(data[:length])


HEAD = b"GGUF" + struct.pack("<I", 3)


def one(tensor: bytes) -> bytes:
    return HEAD + struct.pack("<QQ", 1, 0) + text("blk.0.x") + tensor


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GGML" + b"\0" * 40, "does not begin as a GGUF file does"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "has GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is big-endian"),
        (HEAD + struct.pack("<QQ", 2**60, 0), "1,152,921,504,606,846,976 tensors"),
        (HEAD + struct.pack("<QQ", 0, 2**40), "pairs of metadata"),
        (HEAD + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**20), "give a longer first part"),
        (HEAD + struct.pack("<QQ", 0, 1) + struct.pack("<Q", 2**62), "is longer than any that a"),
        (HEAD + struct.pack("<QQ", 0, 1) + text("k") + struct.pack("<I", 99), "k: value type 99"),
        (
            HEAD + struct.pack("<QQ", 0, 1) + text("k") + struct.pack("<IIQ", 9, 9, 1),
            "k: an array of value type 9",
        ),
        (
            HEAD + struct.pack("<QQ", 0, 1) + text("k") + struct.pack("<IIQ", 9, 8, 2**60),
            "k: it would have",
        ),
        (HEAD + struct.pack("<QQ", 0, 2) + pair("k", 1) * 2, "k is given twice"),
        (HEAD + struct.pack("<QQ", 0, 1) + pair("a\x1b[31m", 1), r"'a\\x1b\[31m': this name has"),
        (HEAD + struct.pack("<QQ", 0, 1) + pair("", 1), "a key without a name"),
        (HEAD + struct.pack("<QQ", 0, 1) + pair("general.alignment", 3), "general.alignment"),
        (one(struct.pack("<IQIQ", 1, 32, 36, 0)), "blk.0.x: tensor type 36 is none"),
        (one(struct.pack("<IQIQ", 1, 33, 8, 0)), "blk.0.x: rows of 33 are not whole q8_0 blocks"),
        (one(struct.pack("<IQIQ", 1, 32, 8, 5)), "blk.0.x: its offset"),
        (one(struct.pack("<I", 9)), "blk.0.x: it would have 9 dimensions"),
        (one(struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0)), "blk.0.x"),
    ],
)
def test_broken_headers_are_refused_in_a_sentence(data: bytes, message: str) -> None:
    with pytest.raises(ConfigRefused, match=message):
        read_header(data)


def test_tensors_must_not_share_a_name_or_a_place() -> None:
    entry = text("x") + struct.pack("<IQIQ", 1, 32, 8, 0)
    with pytest.raises(ConfigRefused, match="overlaps"):
        read_header(HEAD + struct.pack("<QQ", 2, 0) + entry * 2)
    other = text("x") + struct.pack("<IQIQ", 1, 32, 8, 64)
    with pytest.raises(ConfigRefused, match="one name"):
        read_header(HEAD + struct.pack("<QQ", 2, 0) + entry + other)
