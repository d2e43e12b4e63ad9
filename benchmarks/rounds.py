"""Kernels called in turn, so that all of them find the card equally warm."""

import random
import statistics
import time
from collections.abc import Callable
from functools import cache

import torch


@cache
def _square() -> torch.Tensor:
    return torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)


def matmul() -> None:
    """Some 1.5 ms of work for the card."""
    _square() @ _square()


@cache
def _l2() -> torch.Tensor:
    return torch.empty(2**27, device="cuda", dtype=torch.int8)


def in_rounds(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median milliseconds of each, called in turn; the first and the last keep their places."""
    first, *middle, last = runs
    shuffle = random.Random(0).shuffle
    samples: dict[str, list[float]] = {name: [] for name in runs}
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        shuffle(middle)
        matmul()  # the queue never runs dry behind it
        marks = []
        for name in (first, *middle, last):
            mark = [
                torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call, unused-ignore]
                for _ in range(2)
            ]
            _l2().zero_()
            mark[0].record()  # type: ignore[no-untyped-call, unused-ignore]
            runs[name]()
            mark[1].record()  # type: ignore[no-untyped-call, unused-ignore]
            marks.append((name, mark))
        torch.cuda.synchronize()
        for name, mark in marks:
            samples[name].append(mark[0].elapsed_time(mark[1]))
    # The first quarter warms the card up.
    return {name: statistics.median(times[len(times) // 4 :]) for name, times in samples.items()}
