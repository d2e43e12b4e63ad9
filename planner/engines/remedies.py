"""Flags with which an engine that refuses would start: one at a time, found by bisection.

    figures = with_remedies(ENGINES["vllm"], options, lambda o: vllm_figures(model, gpu, d, o))
    figures.remedies  # ("--max-model-len 3984", "--max-num-seqs 512")

A setting is moved from its value in force towards the end that takes less memory; the mildest
value that starts and holds a sequence of the length needed is kept. Every remedy named was computed
again with that flag alone changed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from planner.engines.engine import EngineFigures
from planner.errors import PlanRefused
from planner.frozen import Frozen
from planner.units import MIB, ceil_div


@dataclass(frozen=True, slots=True)
class Knob:
    """A flag: its field, the end of its range that asks for least, and its step.

    setting: the name under which EngineFigures.settings has its value in force; without one the
    field's. default: where the engine has no value in force. of_length: it bounds how long a
    sequence may be. both_ends: the last value may ask for too little.
    """

    flag: str
    field: str
    last: float
    step: float = 1
    setting: str = ""
    default: float = 0
    of_length: bool = False
    both_ends: bool = False


SCANNED = 40
"""Values that are tried in turn, all where there are no more: a share too large is refused like one
too small."""

KNOBS: dict[str, tuple[Knob, ...]] = {
    "vllm": (
        Knob("--max-model-len", "max_model_len", 16, 16, of_length=True),
        Knob("--max-num-seqs", "max_num_seqs", 8, 8),
        Knob("--gpu-memory-utilization", "gpu_memory_utilization", 0.99, 0.01),
        Knob(
            "--kv-cache-memory-bytes", "kv_cache_memory_bytes", 64 * MIB, 64 * MIB, both_ends=True
        ),
    ),
    "sglang": (
        Knob("--mem-fraction-static", "mem_fraction_static", 0.95, 0.01),
        Knob("--max-running-requests", "max_running_requests", 1, 1, "max_num_seqs"),
    ),
    "tensorrt-llm": (
        Knob("--max_seq_len", "max_seq_len", 64, 64, "max_model_len", of_length=True),
        Knob("--max_batch_size", "max_batch_size", 1, 1, "max_num_seqs"),
        Knob("--max_num_tokens", "max_num_tokens", 256, 256, "max_num_batched_tokens"),
        Knob("--kv_cache_free_gpu_memory_fraction", "free_gpu_memory_fraction", 0.98, 0.01),
        Knob("--kv_cache_free_gpu_memory_fraction", "free_gpu_memory_fraction", 0.02, 0.01),
    ),
    "llama.cpp": (
        Knob("-c", "ctx_size", 256, 256, of_length=True),
        Knob("-ngl", "n_gpu_layers", 0),
        Knob("--n-cpu-moe", "n_cpu_moe", 512, 1, default=0),
    ),
    "transformers": (Knob("prefill_chunk_size", "prefill_chunk_size", 256, 256, default=65536),),
}


def with_remedies(
    name: str,
    options: Frozen,
    figures_of: Callable[[Any], EngineFigures],
    *,
    least_tokens: int = 1,
) -> EngineFigures:
    """The engine's figures for `options`; a refusal with the flags that lift it and leave sequences
    of at least `least_tokens`."""
    found = figures_of(options)
    if found.refused is None:
        return found
    remedies, held = [], []
    for knob in KNOBS.get(name, ()):
        if knob.of_length:
            steps = ceil_div(least_tokens, int(knob.step))
            knob = replace(knob, last=max(knob.last, steps * knob.step))
        value = mildest(knob, options, found, partial(_lifts, knob, figures_of, least_tokens))
        if value is not None:
            shown = f"{value:.2f}".rstrip("0") if isinstance(value, float) else str(value)
            remedies.append(f"{knob.flag} {shown}")
            started = figures_of(changed(options, knob, value))
            held.append(started.requests * started.replicas)
    return replace(found, remedies=tuple(remedies), remedies_hold=tuple(held))


def changed(options: Frozen, knob: Knob, value: float) -> Any:
    """The options with that flag alone changed.

    Raises ValueError for a value that the engine does not take.
    """
    return type(options)(**{**options.model_dump(), knob.field: value})


def _lifts(
    knob: Knob, figures_of: Callable[[Any], EngineFigures], tokens: int, options: Any
) -> bool:
    """Whether it serves; where both ends of the range are refused, also without a doubt."""
    figures = figures_of(options)
    return _serves(figures, tokens) and not (knob.both_ends and figures.doubtful)


def _serves(figures: EngineFigures, tokens: int) -> bool:
    """Whether it starts with room for a sequence of the workload, and takes so many tokens."""
    long_enough = figures.length_served(tokens) >= tokens
    return figures.refused is None and figures.requests > 0 and long_enough


def mildest(
    knob: Knob, options: Frozen, found: EngineFigures, does: Callable[[Any], bool]
) -> int | float | None:
    """The value nearest to the one in force that does; None where none does."""
    now = found.settings.get(knob.setting or knob.field)
    start = float(now) if isinstance(now, (int, float)) else knob.default
    steps = int(abs(knob.last - start) / knob.step)
    if steps < 1:
        return None
    sign = 1 if knob.last > start else -1
    whole = isinstance(knob.step, int) and not isinstance(knob.last, float)

    def value(step: int) -> int | float:
        moved = start + sign * step * knob.step
        if not whole:
            return round(moved, 4)
        return int(moved // knob.step * knob.step) if sign < 0 else int(moved)

    def works(step: int) -> bool:
        try:
            return does(changed(options, knob, value(step)))
        except (PlanRefused, ValueError):
            return False

    tried = [steps]
    if steps <= SCANNED or knob.both_ends:
        tried = sorted({ceil_div(steps * i, SCANNED) for i in range(1, SCANNED + 1)})
    high = next((step for step in tried if works(step)), None)
    if high is None:
        return None
    low = max((step for step in tried if step < high), default=0)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return value(high)
