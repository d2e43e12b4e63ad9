"""Two warp groups on one multiprocessor, by hand, and the shares that FlashAttention-3 gives."""

from itertools import pairwise

import pytest

from planner.attention import Heads
from planner.errors import PlanRefused
from planner.hardware import custom_gpu
from planner.lessons import ping_pong as lesson
from planner.lessons.flash_versions import units
from planner.lessons.ping_pong import Work
from presets.claims import presets

gpu_of = presets().gpu_of
H100 = gpu_of("h100-sxm5-80gb")
HEADS = Heads(32, 8, 128, 128, None)


def test_one_tile_by_hand() -> None:
    """Q K, softmax, P V of 1 each: 6 in turn; overlapped the second group is one behind, 4."""
    one = Work(1, 1, 1)
    assert lesson.in_turn(one, 1).seconds == 6
    found = lesson.ping_pong(one, 1)
    assert sorted((s.rank, s.start_s, s.end_s, s.doing) for s in found.spans) == [
        (0, 0, 1, "products"), (0, 1, 2, "exponentials"), (0, 2, 3, "products"),
        (1, 0, 1, "wait"), (1, 1, 2, "products"), (1, 2, 3, "exponentials"), (1, 3, 4, "products"),
    ]  # fmt: skip


def test_in_turn_the_groups_alternate() -> None:
    found = lesson.in_turn(Work(1, 1, 1), 1)
    order = [s.rank for s in found.spans if s.doing != "wait"]
    assert order == [0, 1, 0, 1, 0, 1]


def test_an_h100s_step_by_hand() -> None:
    found = lesson.step_work(HEADS, H100)
    assert found.scores_s == found.values_s == pytest.approx(2 * 64 * 128 * 128 / (989e12 / 132))
    assert found.exponentials_s == pytest.approx(64 * 128 / (16 * 1.98e9))


def test_exponentials_take_about_half_the_time_of_products() -> None:
    """FlashAttention-3: 512 FLOPs for each exponential at head size 128, 256 times as fast."""
    found = lesson.step_work(HEADS, H100)
    assert found.exponentials_s / (found.scores_s + found.values_s) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("ends", [lesson.in_turn, lesson.ping_pong])
def test_a_unit_serves_one_group_at_a_time(ends) -> None:  # type: ignore[no-untyped-def]
    found = ends(lesson.step_work(HEADS, H100), 6)
    for doing in ("products", "exponentials"):
        mine = sorted((s.start_s, s.end_s) for s in found.spans if s.doing == doing)
        assert len(mine) == 2 * (7 if doing == "products" else 6)
        assert all(start >= end - 1e-15 for (_, end), (start, _) in pairwise(mine))
    for rank in range(2):
        mine = sorted((s.start_s, s.end_s) for s in found.spans if s.rank == rank)
        assert all(start == pytest.approx(end) for (_, end), (start, _) in pairwise(mine))


def test_in_turn_is_the_floor_of_the_whole_prompt() -> None:
    floor = units(HEADS, 4096, H100)
    share = lesson.tensor_share(lesson.in_turn(lesson.step_work(HEADS, H100), 5))
    assert share == pytest.approx(floor.matmul_s / floor.in_turn_s)


def test_many_tiles_hide_the_shorter_of_the_two() -> None:
    assert lesson.tensor_share(lesson.ping_pong(Work(1, 1, 1), 400)) == pytest.approx(1, abs=0.01)
    slow = lesson.tensor_share(lesson.ping_pong(Work(1, 4, 1), 400))
    assert slow == pytest.approx(2 / 4, abs=0.01)


def test_one_picture_has_the_rows_of_both() -> None:
    a, b = lesson.in_turn(Work(1, 1, 1), 2), lesson.ping_pong(Work(1, 1, 1), 2)
    found = lesson.above(a, b)
    assert found.ranks == 4
    assert found.seconds == a.seconds > b.seconds
    assert {s.rank for s in found.spans} == {0, 1, 2, 3}


@pytest.mark.parametrize("gpu", [custom_gpu(2**34), gpu_of("mi300x")])
def test_unknown_rates_are_refused(gpu) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PlanRefused, match="special-function"):
        lesson.step_work(HEADS, gpu)
