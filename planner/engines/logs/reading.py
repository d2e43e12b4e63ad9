"""A pasted start-up log as figures, each with the line that it was read from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.engines.logs import patterns
from planner.engines.logs.patterns import Patterns
from planner.errors import PlanRefused
from planner.units import GIB, MIB

UNITS = {"GiB": GIB, "GB": GIB, "MiB": MIB, "MB": MIB}
"""Engines that print GB or MB mean these too."""
SMALLEST_OF_RANKS = ("kv_cache", "tokens", "blocks", "concurrency")
FIRST_OF_RANKS = ("free", "total", "free_after")
MAX_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One printed figure: bytes or a count, half of its last printed digit, and its line."""

    value: float
    half_digit: float
    line: str


@dataclass(frozen=True, slots=True)
class LogReading:
    """What a log says. sizes are in bytes, counts as printed; refused: the engine's own words."""

    engine: str
    version: str | None
    sizes: Mapping[str, Figure]
    counts: Mapping[str, Figure]
    utilisation: float | None = None
    refused: str | None = None

    def bytes_of(self, name: str) -> int | None:
        """Bytes of a printed size, None where it is not in the log."""
        found = self.sizes.get(name)
        return None if found is None else round(found.value)


def read_log(text: str) -> LogReading:
    """The figures of a start-up log of vLLM, SGLang or llama.cpp.

    Of several ranks the smallest cache counts. Raises PlanRefused for text that holds none.
    """
    if len(text) > MAX_CHARACTERS:
        raise PlanRefused("the log is longer than 4 million characters: paste its start only")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    engine = _engine(lines)
    if engine == "vllm":
        lines = [part for line in lines for part in _parts(line)]
        sizes = _read(lines, patterns.VLLM_SIZES, sized=True)
        counts = _read(lines, patterns.VLLM_COUNTS)
        exact = counts.pop("kv_cache_exact", None)
        if exact is not None and "kv_cache" not in sizes:
            sizes["kv_cache"] = exact
    elif engine == "sglang":
        sizes = _read(lines, patterns.SGLANG_SIZES, sized=True)
        counts = _read(lines, patterns.SGLANG_COUNTS)
        _pool_of_sglang(sizes, lines)
    else:
        sizes = _read(lines, patterns.LLAMA_SIZES, sized=True)
        counts = _read(lines, patterns.LLAMA_COUNTS)
        if "kv_cache" not in sizes and "kv_cache_total" in sizes:
            sizes["kv_cache"] = sizes["kv_cache_total"]
    refused = next((m[1] for line in lines if (m := patterns.REFUSED.search(line))), None)
    if not sizes and not counts and refused is None:
        raise PlanRefused("no line of this log says anything about memory that is known here")
    whole = "\n".join(lines)
    version = patterns.VERSION[engine].search(whole + "\n")
    used = patterns.UTILISATION.search(whole)
    return LogReading(
        engine, version[1] if version else None, sizes, counts,
        float(used[1]) if used else None, refused,
    )  # fmt: skip


def _engine(lines: list[str]) -> str:
    """Whose log it is, by the marks that its lines carry."""
    marks = {
        "sglang": patterns.SGLANG_MARKS,
        "llama.cpp": patterns.LLAMA_MARKS,
        "vllm": patterns.VLLM_MARKS,
    }
    found = {
        engine: sum(any(mark in line for mark in words) for line in lines)
        for engine, words in marks.items()
    }
    best = max(found, key=lambda engine: found[engine])
    if not found[best]:
        raise PlanRefused(
            "this is no start-up log of vLLM, SGLang or llama.cpp: paste what the server printed"
        )
    return best


def _parts(line: str) -> list[str]:
    """vLLM puts several figures into one line, between semicolons or bars; sentences stay whole."""
    return [part.strip() for part in re.split(r";|\|", line) if part.strip()]


def _read(lines: list[str], wanted: Patterns, *, sized: bool = False) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    for name, shapes in wanted.items():
        for shape in shapes:
            figures = [
                _figure(match, line, sized=sized)
                for line in lines
                if (match := shape.search(line)) is not None
            ]
            if figures:
                found[name] = _of_ranks(name, figures)
                break
    return found


def _of_ranks(name: str, figures: list[Figure]) -> Figure:
    if name in FIRST_OF_RANKS:
        return figures[0]
    choose = min if name in SMALLEST_OF_RANKS else max
    return choose(figures, key=lambda figure: figure.value)


def _figure(match: re.Match[str], line: str, *, sized: bool) -> Figure:
    if sized:
        return Figure(*_sized(match[1], match[2]), line)
    text = match[1].replace(",", "").rstrip(".")
    digits = len(text.partition(".")[2])
    return Figure(float(text), 0.5 * 10**-digits if digits else 0.0, line)


def _sized(number: str, unit: str) -> tuple[float, float]:
    """Bytes, and half of the last printed digit."""
    text = number.replace(",", "").rstrip(".")
    half = 0.5 * 10 ** -len(text.partition(".")[2])
    return float(text) * UNITS[unit], half * UNITS[unit]


def _pool_of_sglang(sizes: dict[str, Figure], lines: list[str]) -> None:
    """Keys and values of all pools, and the weights where only free memory was printed."""
    pools = {m[0]: m for line in lines if (m := patterns.SGLANG_POOL.search(line))}
    if pools:
        halves = [_sized(m[i], m[i + 1]) for m in pools.values() for i in (1, 3) if m[i]]
        size, half = (sum(column) for column in zip(*halves, strict=True))
        sizes["kv_cache"] = Figure(size, half, "; ".join(pools))
    before, after = sizes.get("free"), sizes.get("after_load")
    if "weights" not in sizes and before is not None and after is not None:
        half = before.half_digit + after.half_digit
        sizes["weights"] = Figure(before.value - after.value, half, after.line)
    pool = sizes.get("after_pool")
    if "kv_cache" not in sizes and after is not None and pool is not None:
        half = after.half_digit + pool.half_digit
        sizes["kv_cache"] = Figure(after.value - pool.value, half, pool.line)
