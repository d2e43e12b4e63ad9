"""A pasted start-up log as figures, each with the line that it was read from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from planner.engines.logs import patterns
from planner.engines.logs.llama_cpp import llama_figures_of
from planner.engines.logs.out_of_memory import OutOfMemory, out_of_memory
from planner.engines.logs.ranks import Figure, Line, by_worker, figure, plain, read
from planner.engines.logs.sglang import sglang_figures_of
from planner.errors import PlanRefused

MAX_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True)
class LogReading:
    """What a log says. sizes are in bytes, counts as printed; refused: the engine's own words.

    died: what PyTorch said of an allocation that failed; engine: "" where it is only that.
    """

    engine: str
    version: str | None
    sizes: Mapping[str, Figure]
    counts: Mapping[str, Figure]
    utilisation: float | None = None
    refused: str | None = None
    died: OutOfMemory | None = None

    def bytes_of(self, name: str) -> int | None:
        """Bytes of a printed size, None where it is not in the log."""
        found = self.sizes.get(name)
        return None if found is None else round(found.value)


def read_log(text: str) -> LogReading:
    """The figures of a start-up log of vLLM, SGLang, TensorRT-LLM or llama.cpp.

    Of several ranks the one with the smallest cache counts, of llama.cpp's devices the fullest.
    Raises PlanRefused for text that holds none.
    """
    if len(text) > MAX_CHARACTERS:
        raise PlanRefused("the log is longer than 4 million characters: paste its start only")
    lines = plain(text)
    engine = _engine(lines)
    sizes, counts = READERS[engine](lines) if engine else ({}, {})
    refused = next((m[1] for line in lines if (m := patterns.REFUSED.search(line))), None)
    if not sizes and not counts and refused is None:
        raise PlanRefused("no line of this log says anything about memory that is known here")
    whole = "\n".join(lines)
    version = patterns.VERSION[engine].search(whole + "\n") if engine else None
    used = patterns.UTILISATION.search(whole)
    return LogReading(
        engine, version[1] if version else None, sizes, counts,
        float(used[1]) if used else None, refused, out_of_memory(engine, lines, sizes),
    )  # fmt: skip


def _vllm(lines: list[str]) -> tuple[dict[str, Figure], dict[str, Figure]]:
    every = [Line(part, line.rank) for line in by_worker(lines) for part in _parts(line.text)]
    sizes = read(every, patterns.VLLM_SIZES, sized=True)
    counts = read(every, patterns.VLLM_COUNTS)
    exact = counts.pop("kv_cache_exact", None)
    if exact is not None and "kv_cache" not in sizes:
        sizes["kv_cache"] = exact
    return sizes, counts


def _parts(line: str) -> list[str]:
    """vLLM puts several figures into one line, between semicolons or bars; sentences stay whole."""
    return [part.strip() for part in re.split(r";|\|", line) if part.strip()]


def _tensorrt(lines: list[str]) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """The pool is allocated twice, first a small one for the profile: the last one is kept."""
    every = [Line(line) for line in lines]
    sizes = read(every, patterns.TENSORRT_SIZES, sized=True)
    counts = read(every, patterns.TENSORRT_COUNTS)
    for found, wanted, sized in (
        (sizes, patterns.TENSORRT_SIZES, True),
        (counts, patterns.TENSORRT_COUNTS, False),
    ):
        for name in ("kv_cache", "tokens", "blocks"):
            last = _last(lines, wanted.get(name, ()), sized=sized)
            if last is not None:
                found[name] = last
    return sizes, counts


def _last(lines: list[str], shapes: tuple[re.Pattern[str], ...], *, sized: bool) -> Figure | None:
    for shape in shapes:
        for line in reversed(lines):
            if (match := shape.search(line)) is not None:
                return figure(match, line, sized=sized)
    return None


READERS = {
    "vllm": _vllm,
    "sglang": sglang_figures_of,
    "tensorrt-llm": _tensorrt,
    "llama.cpp": llama_figures_of,
}
MARKS = {
    "sglang": patterns.SGLANG_MARKS,
    "llama.cpp": patterns.LLAMA_MARKS,
    "tensorrt-llm": patterns.TENSORRT_MARKS,
    "vllm": patterns.VLLM_MARKS,
}


def _engine(lines: list[str]) -> str:
    """Whose log it is, by the marks that its lines carry; "" for PyTorch's words alone."""
    found = {
        engine: sum(any(mark in line for mark in words) for line in lines)
        for engine, words in MARKS.items()
    }
    best = max(found, key=lambda engine: found[engine])
    if not found[best]:
        if out_of_memory("", lines, ()) is not None:
            return ""
        raise PlanRefused(
            "this is no start-up log of vLLM, SGLang, TensorRT-LLM or llama.cpp: paste what the "
            "server printed"
        )
    return best
