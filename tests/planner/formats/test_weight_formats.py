"""Stored tensors, counted by hand."""

from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlanRefused
from planner.formats.weight_formats import (
    BF16,
    FP32,
    GGUF,
    INT8_BITSANDBYTES,
    MXFP4,
    MXFP8,
    NAMED,
    WeightFormat,
    fp8,
    fp8_block,
    fp8_per_channel,
    int4,
    int8,
    integer,
    nf4,
    nvfp4,
    weight_format,
)

SQUARE = 4096 * 4096


@pytest.mark.parametrize(
    ("found", "shape", "size"),
    [
        (FP32, (3, 5), 60),
        (BF16, (7,), 14),
        (fp8(), (4096, 4096), SQUARE + 4),
        (fp8(static_inputs=True), (4096, 4096), SQUARE + 8),
        (fp8_per_channel(), (4096, 4096), SQUARE + 4096 * 4),
        # 576 rows are 4.5 blocks of 128, 7168 columns 56: 5 x 56 scales.
        (fp8_block(), (576, 7168), 576 * 7168 + 5 * 56 * 4),
        (fp8_block(scale_bytes=1), (576, 7168), 576 * 7168 + 5 * 56),
        (int8(), (4096, 14336), 4096 * 14336 + 4096 * 4),
        (int8(per_tensor=True), (4096, 14336), 4096 * 14336 + 4),
        (INT8_BITSANDBYTES, (10, 33), 330 + 40),
        # AWQ, group 128: 8 MiB of nibbles, 4096 x 32 scales of 2 B, 32 groups x 512 int32.
        (int4(128), (4096, 4096), SQUARE // 2 + 4096 * 32 * 2 + 32 * 512 * 4),
        (int4(128, symmetric=True), (4096, 4096), SQUARE // 2 + 4096 * 32 * 2),
        # gpt-oss width 2880 is 22.5 groups of 128.
        (int4(128, symmetric=True), (16, 2880), 16 * 1440 + 16 * 23 * 2),
        (
            integer(4, 128, symmetric=True, group_index=True),
            (64, 256),
            64 * 128 + 64 * 2 * 2 + 2048,
        ),
        # 3 bits: 32 elements in 12 B.
        (integer(3, 128, symmetric=True), (64, 256), 64 * 96 + 64 * 2 * 2),
        (integer(4, None, symmetric=True), (64, 256), 64 * 128 + 64 * 2),
        (MXFP4, (2880, 2880), 2880 * 90 * 17),
        (MXFP4, (10, 33), 10 * 2 * 17),
        (MXFP8, (64, 64), 64 * 2 * 33),
        (nvfp4(), (4096, 4096), SQUARE // 2 + SQUARE // 16 + 8),
        (nvfp4(static_inputs=False), (4096, 4096), SQUARE // 2 + SQUARE // 16 + 4),
        # 100 elements: 50 B, two blocks of 64 with an fp32 each, a table of 16 fp32.
        (nf4(), (10, 10), 50 + 8 + 64),
        # 262,144 maxima in a byte each, 1,024 fp32 above them, an offset and two tables.
        (
            nf4(double_quant=True),
            (4096, 4096),
            SQUARE // 2 + 262144 + 1024 * 4 + 4 + 64 + 1024,
        ),
        (GGUF["q4_0"], (4096, 4096), SQUARE // 32 * 18),
        (GGUF["q6_k"], (128256, 4096), 128256 * 16 * 210),
        (BF16, (8, 16, 32), 8 * 16 * 32 * 2),
        (fp8_block(), (4, 200, 200), 4 * (40000 + 4 * 4)),
    ],
)
def test_bytes_by_hand(found: WeightFormat, shape: tuple[int, ...], size: int) -> None:
    assert found.bytes(shape) == size


# Bits of a weight, scales included, as engines and formats state them; the rest is per matrix.
BITS = {
    "fp8_block": 8.00195,
    "int4": 4.15625,
    "mxfp4": 4.25,
    "nvfp4": 4.5,
    "nf4": 4.5,
    "nf4_double": 4.127,
    "q4_0": 4.5,
    "q4_1": 5.0,
    "q5_0": 5.5,
    "q5_1": 6.0,
    "q8_0": 8.5,
    "q2_k": 2.625,
    "q3_k": 3.4375,
    "q4_k": 4.5,
    "q5_k": 5.5,
    "q6_k": 6.5625,
    "iq1_s": 1.5625,
    "iq1_m": 1.75,
    "iq2_xxs": 2.0625,
    "iq2_xs": 2.3125,
    "iq2_s": 2.5625,
    "iq3_xxs": 3.0625,
    "iq3_s": 3.4375,
    "iq4_xs": 4.25,
    "iq4_nl": 4.5,
    "tq1_0": 1.6875,
    "tq2_0": 2.0625,
}


@pytest.mark.parametrize("name", BITS)
def test_bits_per_weight(name: str) -> None:
    assert weight_format(name).bits_per_weight == pytest.approx(BITS[name], abs=1e-4)


def test_rows_that_gguf_blocks_do_not_divide_are_refused() -> None:
    with pytest.raises(PlanRefused, match="q4_k stores rows in blocks of 256"):
        GGUF["q4_k"].bytes((16, 2880))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(PlanRefused, match="'int5' is not a weight format"):
        weight_format("int5")
    with pytest.raises(PlanRefused, match="7-bit"):
        integer(7)


shapes = st.tuples(st.integers(1, 40), st.integers(1, 12).map(lambda n: 256 * n))
forms = st.sampled_from(list(NAMED.values()))


@settings(deadline=None)
@given(forms, shapes)
def test_larger_tensors_never_cost_less(found: WeightFormat, shape: tuple[int, int]) -> None:
    rows, columns = shape
    assert found.bytes((rows, columns)) <= found.bytes((rows + 1, columns))
    assert found.bytes((rows, columns)) <= found.bytes((rows, columns + 256))


@settings(deadline=None)
@given(forms, shapes, st.sampled_from([2, 4, 8]), st.booleans())
def test_shards_cover_the_whole(
    found: WeightFormat, shape: tuple[int, int], ranks: int, by_row: bool
) -> None:
    rows, columns = shape
    rows, columns = rows * ranks, columns * ranks
    part = (rows // ranks, columns) if by_row else (rows, columns // ranks)
    together, whole = ranks * found.bytes(part), found.bytes((rows, columns))
    scales = ranks * (rows * 8 + columns + 1200)
    assert whole <= together <= whole + scales


@settings(deadline=None)
@given(shapes)
def test_more_bits_never_cost_less(shape: tuple[int, int]) -> None:
    sizes = [
        WeightFormat(name, "", *block).bytes(shape)
        for name, block in (("2", (4, 1)), ("4", (2, 1)), ("8", (1, 1)), ("16", (1, 2)))
    ]
    assert sizes == sorted(sizes)
    for bits in (2, 3, 4, 5, 6):
        assert (
            integer(bits).bytes(shape) < integer(8).bytes(shape) < 2 * prod(shape) + 4 * sum(shape)
        )
