"""Lines as they come: several at once, in pieces, late, never."""

import os

from validate.lines import Lines


def pair():
    end, start = os.pipe()
    return Lines(os.fdopen(end, encoding="utf-8")), start


def test_lines_written_at_once_come_without_waiting() -> None:
    lines, start = pair()
    os.write(start, b"a\nb\nc")
    assert [lines.next(5), lines.next(5)] == ["a\n", "b\n"]
    assert lines.next(0.01) is None
    os.write(start, "ü\n".encode())
    assert lines.next(5) == "cü\n"


def test_the_end_is_an_empty_line_and_half_a_line_is_dropped() -> None:
    lines, start = pair()
    os.write(start, b"a\nhalf")
    os.close(start)
    assert [lines.next(5), lines.next(5)] == ["a\n", ""]
