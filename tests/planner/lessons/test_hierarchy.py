"""Levels of memory against the figures that articles and whitepapers print."""

import pytest

from planner.hardware import custom_gpu
from planner.lessons import hierarchy as lesson
from planner.units import GIB, KIB, MIB
from presets.claims import presets
from presets.gpus import all_gpus

gpu_of = presets().gpu_of


def test_levels_of_an_a100() -> None:
    """27 MiB of registers is the A100 whitepaper's "27,648 KB"; 40 MiB of L2 is its table's."""
    found = {level.name: level for level in lesson.levels(gpu_of("a100-sxm4-80gb"))}
    assert list(found) == ["Registers", "Shared memory", "L2 cache", "Device memory"]
    assert found["Registers"].bytes == 27_648 * KIB
    assert found["Registers"].each_bytes == 256 * KIB
    assert found["Shared memory"].each_bytes == 164 * KIB
    assert found["L2 cache"].bytes == 40 * MIB
    assert found["Device memory"].bytes_per_s == 2_039 * 10**9


@pytest.mark.parametrize(
    ("card", "published"), [("a100-sxm4-80gb", 19.5e12), ("h100-sxm5-80gb", 33.5e12)]
)
def test_shared_memory_is_as_fast_as_articles_say(card: str, published: float) -> None:
    """ "About 19 TB/s" is the A100's figure in FlashAttention's paper."""
    assert lesson.shared_bytes_per_s(gpu_of(card)) == pytest.approx(published, rel=0.002)


def test_what_is_not_known_is_left_out() -> None:
    alone = lesson.levels(custom_gpu(24 * GIB))
    assert [(level.name, level.bytes, level.bytes_per_s) for level in alone] == [
        ("Device memory", 24 * GIB, None)
    ]
    amd = {level.name: level for level in lesson.levels(gpu_of("mi300x"))}
    assert "Registers" not in amd
    assert amd["Shared memory"].bytes_per_s is None
    assert lesson.shared_bytes_per_s(gpu_of("h20-96gb")) is None


def test_nearer_is_faster_on_every_card() -> None:
    for gpu in all_gpus():
        rates = [level.bytes_per_s for level in lesson.levels(gpu) if level.bytes_per_s]
        assert rates == sorted(rates, reverse=True)


def test_tokens_that_stay_near() -> None:
    """One head of 128 + 128 in 16 bits is 512 B a token: 164 KiB hold 328, 40 MiB hold 81,920."""
    found = {level.name: level for level in lesson.levels(gpu_of("a100-sxm4-80gb"))}
    assert found["Shared memory"].tokens(512) == 328
    assert found["L2 cache"].tokens(512) == 81_920
