"""Sizes of ggml's types, by their structs in llama.cpp's ggml/src/ggml-common.h."""

import pytest

from planner.errors import ConfigRefused
from planner.formats.ggml_types import TYPES, ggml_type

HALF, BYTE, FLOAT = 2, 1, 4
STRUCTS = {
    0: (1, FLOAT), 1: (1, HALF), 30: (1, HALF),
    2: (32, HALF + 16), 3: (32, 2 * HALF + 16), 6: (32, HALF + 4 + 16), 7: (32, 2 * HALF + 4 + 16),
    8: (32, HALF + 32),
    10: (256, 2 * HALF + 16 + 64), 11: (256, HALF + 64 + 32 + 12), 12: (256, 2 * HALF + 12 + 128),
    13: (256, 2 * HALF + 12 + 32 + 128), 14: (256, HALF + 16 + 64 + 128),
    15: (256, FLOAT + 256 + 16 * HALF),
    16: (256, HALF + 32 * HALF), 17: (256, HALF + 32 * HALF + 8), 18: (256, HALF + 3 * 32),
    19: (256, HALF + 32 + 8 * HALF), 20: (32, HALF + 16), 21: (256, HALF + 64 + 8 + 32 + 4),
    22: (256, HALF + 64 + 16), 23: (256, HALF + HALF + 4 + 128), 29: (256, 32 + 16 + 8),
    24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    34: (256, HALF + 4 * 13), 35: (256, HALF + 64), 39: (32, BYTE + 16), 40: (64, 4 * BYTE + 32),
    41: (128, HALF + 16),
}  # fmt: skip


@pytest.mark.parametrize("number", STRUCTS)
def test_block_and_bytes(number: int) -> None:
    found = ggml_type(number)
    assert (found.block, found.block_bytes) == STRUCTS[number]
    assert found.bytes((8, 512)) == 8 * 512 // found.block * found.block_bytes


def test_all_of_them() -> None:
    assert set(TYPES) == set(STRUCTS)


@pytest.mark.parametrize("number", [4, 5, 9, 31, 36, 42, 4096])
def test_other_numbers_are_refused_by_number(number: int) -> None:
    with pytest.raises(ConfigRefused, match=f"tensor type {number} is none"):
        ggml_type(number)
