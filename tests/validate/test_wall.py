"""Bisection, and a difference put into blocks."""

import pytest

from validate.wall import explained, most

MIB = 2**20


@pytest.mark.parametrize("limit", [1, 7, 400])
@pytest.mark.parametrize("guess", [1, 3, 120, 1000])
@pytest.mark.parametrize("true", [0, 1, 5, 119, 400])
def test_the_largest_that_fits_is_found_from_any_guess(true: int, guess: int, limit: int) -> None:
    assert most(lambda n: n <= true, guess, limit) == min(true, limit)


def test_a_good_guess_takes_two_tries() -> None:
    tried: list[int] = []

    def fits(n: int) -> bool:
        tried.append(n)
        return n <= 118

    assert most(fits, 118, 480) == 118
    assert tried == [118, 119]


def test_a_difference_is_explained_in_blocks() -> None:
    text = explained(
        1000, 850, 2 * MIB, {"activations": 700 * MIB, "run time": 717 * MIB},
        {"activations": 900 * MIB, "run time": 757 * MIB, "pieces": 20 * MIB},
    )  # fmt: skip
    assert text.startswith("150 blocks of 2.00 MiB fewer than planned")
    assert "activations +100, run time +20, pieces +10, not accounted for +20" in text
