"""What the versions changed, by hand for one head of 64 and 256 tokens."""

import pytest

from planner.attention import Heads
from planner.errors import PlanRefused
from planner.hardware import custom_gpu
from planner.lessons import flash_versions as lesson
from planner.lessons.tiling import Tile
from presets.claims import presets
from presets.published import flash_versions, quality

ONE = Heads(1, 1, 64, 64, None)
gpu_of = presets().gpu_of


def test_loops_by_hand() -> None:
    found = lesson.loops(ONE, 256, Tile(128, 128))
    # K, V once; for each of 2 key tiles Q, O in, O out, and two float32 a row in and out
    assert found.keys_outside_bytes == 2 * 256 * 128 + 2 * (2 * 256 * 192 + 2 * 256 * 8)
    # K, V for each of 2 query tiles, Q and O once, one float32 a row
    assert found.queries_outside_bytes == 2 * (2 * 256 * 128 + 256 * 128) + 4 * 256
    assert found.keys_outside_rescales == 2 * 2 * 256 * 64
    assert found.queries_outside_rescales == 3 * 256 * 64


def test_exponentials_of_an_h100() -> None:
    h100 = gpu_of("h100-sxm5-80gb")
    assert lesson.exponentials_per_s(h100) == 132 * 16 * 1.98e9
    found = lesson.units(ONE, 1000, h100)
    pairs = 1000 * 1001 / 2
    assert found.matmul_s == pytest.approx(4 * 64 * pairs / 989e12)
    assert found.exponential_s == pytest.approx(pairs / (132 * 16 * 1.98e9))
    assert found.in_turn_s > found.overlapped_s == max(found.matmul_s, found.exponential_s)


@pytest.mark.parametrize("gpu", [custom_gpu(2**34), gpu_of("mi300x")])
def test_unknown_units_are_refused(gpu) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanRefused, match="special-function"):
        lesson.exponentials_per_s(gpu)


def test_published_rates_stay_below_their_cards_peak() -> None:
    for version in flash_versions():
        gpu = gpu_of(version.gpu)
        assert version.flops_per_s < (gpu.bf16_flops_per_s or 0)
        assert version.source
    assert [v.year for v in flash_versions()] == [2022, 2023, 2024, 2026]


def test_quality_has_a_source_and_a_multi_head_row() -> None:
    for row in quality():
        assert "arXiv" in row.source
        assert "MHA" in row.scores
