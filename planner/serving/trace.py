"""A trace of requests as CSV: TIMESTAMP, ContextTokens, GeneratedTokens."""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain

from planner.errors import PlanRefused
from planner.serving.requests import Request
from planner.workload import MAX_TOKENS

COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")


def read_trace(lines: Iterable[str]) -> Iterator[Request]:
    """Requests of a trace, row by row, their arrivals counted from the first.

    A timestamp is ISO 8601 or a number of seconds. Raises PlanRefused naming the first row that
    cannot be read or goes back in time; a row is told by its line in the file.
    """
    rows = csv.reader(_whole(lines))
    try:
        head = [name.strip().lstrip("\ufeff") for name in next(rows, [])]
    except csv.Error as error:
        raise PlanRefused(f"line 1 of the trace is no CSV: {error}") from None
    missing = [name for name in COLUMNS if name not in head]
    if missing:
        raise PlanRefused(
            f"the trace has no column {missing[0]}: its first line must name {', '.join(COLUMNS)}"
        )
    places = [head.index(name) for name in COLUMNS]
    start, last = None, 0.0
    try:
        for row in rows:
            if not row:
                continue
            line = rows.line_num
            if len(row) <= max(places):
                raise PlanRefused(f"line {line} of the trace has {len(row)} of {len(head)} fields")
            when, prompt, output = (row[i] for i in places)
            at = _seconds(when, line)
            if start is None:
                start = at
            if at - start < last:
                raise PlanRefused(
                    f"line {line} of the trace is earlier than the one before: sort it by TIMESTAMP"
                )
            last = at - start
            yield Request(last, _tokens(prompt, "ContextTokens", line),
                          _tokens(output, "GeneratedTokens", line))  # fmt: skip
    except csv.Error as error:
        raise PlanRefused(f"line {rows.line_num} of the trace is no CSV: {error}") from None
    if start is None:
        raise PlanRefused("the trace has no rows")


def _whole(lines: Iterable[str]) -> Iterator[str]:
    found = iter(lines)
    try:
        first = next(found, "")
        yield from chain([first], found)
    except UnicodeDecodeError:
        raise PlanRefused("the trace is not text in UTF-8") from None


def _seconds(text: str, line: int) -> float:
    text = text.strip()
    try:
        found = float(text) if _is_number(text) else datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        found = float("nan")
    if not abs(found) < 1e15:
        raise PlanRefused(
            f"line {line} of the trace: TIMESTAMP {text[:40]!r} is neither a date and time nor "
            "seconds"
        )
    return found


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit() and text.count("-") < 2


def _tokens(text: str, column: str, line: int) -> int:
    try:
        found = int(text)
    except ValueError:
        found = 0
    if not 1 <= found <= MAX_TOKENS:
        raise PlanRefused(
            f"line {line} of the trace: {column} {text.strip()[:40]!r} is no whole number from 1 "
            f"to {MAX_TOKENS:,}"
        )
    return found
