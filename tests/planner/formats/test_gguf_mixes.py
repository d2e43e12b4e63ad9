"""Types of rows that blocks do not divide, as llama.cpp's src/llama-quant.cpp chooses them."""

import pytest

from planner.formats.gguf_mixes import fitting


@pytest.mark.parametrize(
    ("kind", "columns", "chosen"),
    [
        ("q4_k", 1024, "q4_k"),
        ("q4_k", 896, "q5_0"),  # Qwen2.5-0.5B: 3.5 blocks of 256, 28 of 32
        ("q5_k", 896, "q5_1"),
        ("q6_k", 896, "q8_0"),
        ("q2_k", 896, "iq4_nl"),
        ("q3_k", 896, "iq4_nl"),
        ("iq4_xs", 896, "iq4_nl"),
        ("q8_0", 896, "q8_0"),
        ("q4_k", 900, "fp16"),
        ("q8_0", 900, "fp16"),
    ],
)
def test_rows_that_blocks_do_not_divide(kind: str, columns: int, chosen: str) -> None:
    assert fitting(kind, columns).name == chosen
