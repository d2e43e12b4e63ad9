"""PyTorch's own account of an allocation that failed, as a sentence and as what to change.

    died = out_of_memory("vllm", lines, sizes)
    died.sentence, died.advice

PyTorch says how much was asked for, how much of the card was free, and what it held itself; what
was printed before tells how far the engine had come.
Source: pytorch c10/cuda/CUDACachingAllocator.cpp; logs in vllm-project/vllm issues 15105, 17939 and
27508.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

from planner.units import GIB, MIB, format_bytes

SIZE = r"(\d+(?:\.\d+)?) (bytes|KiB|MiB|GiB)"
UNITS = {"bytes": 1, "KiB": 1024, "MiB": MIB, "GiB": GIB}
ASKED = re.compile(rf"out of memory\. Tried to allocate {SIZE}")
TOTAL = re.compile(rf"total capacity of {SIZE} of which {SIZE} is free")
IN_USE = re.compile(rf"(?:this process has|Process \d+ has) {SIZE} memory in use")
HELD = re.compile(rf"Of the allocated memory {SIZE} is allocated by PyTorch")
IDLE = re.compile(rf"{SIZE} is reserved by PyTorch but unallocated")
SAMPLER = re.compile(r"when warming up sampler with \d+ dummy requests")
WORDS = ("the engine's share of the card", "the number of sequences", "tokens of a step",
         "run without CUDA graphs")  # fmt: skip
FLAGS = {
    "vllm": ("--gpu-memory-utilization", "--max-num-seqs", "--max-num-batched-tokens",
             "take --enforce-eager"),
    "sglang": ("--mem-fraction-static", "--max-running-requests", "--chunked-prefill-size",
               "take --disable-cuda-graph"),
}  # fmt: skip
"""What sets the share of the card, the sequences and the tokens of a step, and no CUDA graphs."""
MUCH = 0.02
"""Of the card: what is less explains nothing."""


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """What failed, and what to change."""

    sentence: str
    advice: str


def out_of_memory(engine: str, lines: Sequence[str], printed: Container[str]) -> OutOfMemory | None:
    """The first failure in a log of `engine`, "" where that is not known; None where none failed.

    printed: names of the sizes that the log has, of which 'weights' and 'kv_cache' tell how far the
    engine came.
    """
    sampler = any(SAMPLER.search(line) for line in lines)
    said = next((line for line in lines if ASKED.search(line)), None)
    if said is None:
        return None
    asked, *_ = _sizes(ASKED, said)
    total, free = _sizes(TOTAL, said) or (0, 0)
    parts = [f"{format_bytes(asked)} were asked for"]
    if total:
        parts[0] += f" where {format_bytes(free)} of {format_bytes(total)} were free"
    used, held, idle = (sum(_sizes(shape, said)) for shape in (IN_USE, HELD, IDLE))
    if held:
        parts.append(f"PyTorch held {format_bytes(held)}")
    outside = used - held - idle
    if used and held and outside > 0:
        parts.append(
            f"{format_bytes(outside)} of the process lay outside it (context, libraries, "
            "communication)"
        )
    others = total - free - used
    shared = used > 0 and others > MUCH * total
    if shared:
        parts.append(f"other processes held {format_bytes(others)}")
    if idle > MUCH * total:
        parts.append(f"{format_bytes(idle)} were kept but unused")
    return OutOfMemory("; ".join(parts), _advice(engine, printed, sampler, shared))


def _advice(engine: str, printed: Container[str], sampler: bool, shared: bool) -> str:
    share, sequences, step, eager = FLAGS.get(engine, WORDS)
    if shared:
        return "end the other processes on the card first, or give the engine a smaller share of it"
    if sampler:
        return f"warming up the sampler failed: lower {sequences}, or {share}"
    if "kv_cache" in printed:
        return (
            f"it failed after the cache had its size: lower {share} (the cache gives way) or "
            f"{sequences}, or {eager}"
        )
    if "weights" in printed:
        return (
            "it failed after the weights were loaded, while the largest step was tried: lower "
            f"{step} and {sequences}"
        )
    return (
        "it failed while the weights were loaded: spread them over more GPUs, or take a smaller "
        "format"
    )


def _sizes(shape: re.Pattern[str], line: str) -> list[int]:
    """Bytes of each size in what `shape` finds; none where it finds nothing."""
    found = shape.search(line)
    if found is None:
        return []
    numbers = found.groups()
    return [
        round(float(n) * UNITS[unit]) for n, unit in zip(numbers[::2], numbers[1::2], strict=True)
    ]
