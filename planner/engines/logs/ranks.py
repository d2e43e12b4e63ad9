"""Which process printed a line, and whose figures count where several print their own."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from planner.engines.logs.patterns import Patterns
from planner.units import GIB, MIB

UNITS = {"GiB": GIB, "GB": GIB, "MiB": MIB, "MB": MIB, "bytes": 1}
"""Engines that print GB or MB mean these too."""
COLOUR = re.compile(r"\x1b\[[\d;]*m|\[(?:\d{1,2};)*\d{1,2}m")
WORKER = re.compile(r"\((\w*Worker\w*[^)]*)\)")
SGLANG_RANK = re.compile(r"\[\d[^\]]*?((?: (?:DP|TP|PP|EP|CP)\d+)+)\]")
SMALLEST_OF_RANKS = ("kv_cache", "tokens", "blocks", "concurrency")
FIRST_OF_RANKS = ("free", "total", "free_after")


@dataclass(frozen=True, slots=True)
class Line:
    """What was printed, and by which worker; "" where the line does not say."""

    text: str
    rank: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One printed figure: bytes or a count, half of its last printed digit, and its line."""

    value: float
    half_digit: float
    line: str


def plain(text: str) -> list[str]:
    """Lines that are not empty, without the colours of a terminal."""
    return [line.strip() for line in COLOUR.sub("", text).splitlines() if line.strip()]


def by_worker(lines: Iterable[str], pattern: re.Pattern[str] = WORKER) -> list[Line]:
    """Every line with the worker that it names."""
    return [Line(line, m[1].strip() if (m := pattern.search(line)) else "") for line in lines]


def read(lines: Sequence[Line], wanted: Patterns, *, sized: bool = False) -> dict[str, Figure]:
    """The figures that the patterns find. Of several workers the one with the smallest cache
    counts, of what it does not print the extreme of the others."""
    seen: dict[str, list[tuple[str, Figure]]] = {}
    for name, shapes in wanted.items():
        for shape in shapes:
            figures = [
                (line.rank, figure(match, line.text, sized=sized))
                for line in lines
                if (match := shape.search(line.text)) is not None
            ]
            if figures:
                seen[name] = figures
                break
    caches = seen.get("kv_cache", [])
    binding = None
    if any(rank for rank, _ in caches):
        binding = min(caches, key=lambda pair: pair[1].value)[0]
    return {name: _of_ranks(name, found, binding) for name, found in seen.items()}


def _of_ranks(name: str, found: list[tuple[str, Figure]], binding: str | None) -> Figure:
    own = [one for rank, one in found if rank == binding]
    figures = own or [one for _, one in found]
    if name in FIRST_OF_RANKS:
        return figures[0]
    choose = min if name in SMALLEST_OF_RANKS else max
    return choose(figures, key=lambda one: one.value)


def figure(match: re.Match[str], line: str, *, sized: bool = True) -> Figure:
    """The figure of a match: its number, and its unit where it is a size."""
    return measured(match[1], match[2] if sized else None, line)


def measured(number: str, unit: str | None, line: str) -> Figure:
    """Bytes, or a count as printed, and half of the last printed digit."""
    text = number.replace(",", "").rstrip(".")
    digits, factor = len(text.partition(".")[2]), UNITS[unit] if unit else 1
    half = 0.5 * 10**-digits * factor if unit or digits else 0.0
    return Figure(float(text) * factor, half, line)


def added(figures: Sequence[Figure]) -> Figure:
    """Several figures as one."""
    return Figure(
        sum(one.value for one in figures),
        sum(one.half_digit for one in figures),
        "; ".join(dict.fromkeys(one.line for one in figures)),
    )


def smallest(ranks: Mapping[str, dict[str, Figure]]) -> dict[str, Figure]:
    """The figures of the rank with the smallest cache, or with the most of all."""
    with_cache = [found for found in ranks.values() if "kv_cache" in found]
    if with_cache:
        return min(with_cache, key=lambda found: found["kv_cache"].value)
    return max(ranks.values(), key=len, default={})
