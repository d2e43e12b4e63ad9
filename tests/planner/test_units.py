"""Sizes, times and counts as people read them."""

import pytest

from planner.units import counted, format_bytes, format_seconds, parse_tokens


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (96, "96 B"),
        (512 * 2**10, "512.00 KiB"),
        (2**40 - 2**30, "1,023.00 GiB"),
        (2**40, "1.00 TiB"),
        (-3 * 2**39, "-1.50 TiB"),
        (1_310_720_000_000_000_000, "1,164.15 PiB"),
    ],
)
def test_bytes(size: int, words: str) -> None:
    assert format_bytes(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (0.000454, "454 µs"),
        (0.0454, "45.4 ms"),
        (0.9996, "1,000 ms"),
        (4.321, "4.32 s"),
        (86400, "86,400 s"),
    ],
)
def test_seconds(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words


def test_counts() -> None:
    assert (counted(1, "user"), counted(1000, "user")) == ("1 user", "1,000 users")


@pytest.mark.parametrize(
    ("text", "tokens"), [("32768", 32768), ("32k", 32768), (" 1M ", 1048576), ("131,072", 131072)]
)
def test_tokens_as_people_write_them(text: str, tokens: int) -> None:
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize("text", ["", "k", "1e9", "1.5k", "32kb", "many"])
def test_what_is_no_number_of_tokens(text: str) -> None:
    with pytest.raises(ValueError, match="no number of tokens"):
        parse_tokens(text)
