"""Seconds on the device: events around calls, or replays of a CUDA graph for short launches.

A card that waited a moment runs at a low clock, and one that multiplied for a while at a lower one
than at first; so every measurement is warmed up by time, and samples are long enough that launching
is hidden behind what runs.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial
from time import perf_counter

import torch

from validate.bench import Bench

Run = Callable[[], object]
WARM_S = 0.05
SUSTAINED_S = 0.3
"""How long work limited by arithmetic is warmed up, so that its clock is the one it keeps."""
SAMPLE_S = 0.002
MOST_REPEATS = 200


def eager_s(bench: Bench, run: Run, *, samples: int = 7, warm_s: float = WARM_S) -> list[float]:
    """Seconds of one call; a sample is a row of calls that takes at least SAMPLE_S."""
    run()
    bench.synchronize()
    if bench.rehearsal:
        return [_wall_s(run) for _ in range(2)]
    repeats = max(1, min(MOST_REPEATS, int(SAMPLE_S / max(_event_s(run, 1), 1e-6)) + 1))
    start = perf_counter()
    while perf_counter() - start < warm_s:
        _event_s(run, repeats)
    return [_event_s(run, repeats) for _ in range(samples)]


def graph_s(
    bench: Bench, runs: Sequence[Run], *, samples: int = 7, warm_s: float = WARM_S
) -> list[float]:
    """Seconds of one of `runs`, which are captured together and replayed.

    Give enough runs over different data that a replay reads several times the L2 cache.
    """
    if bench.rehearsal:
        return [_wall_s(runs[0]) for _ in range(2)]
    try:
        replay: Run = capture(lambda: _in_turn(runs)).replay
    except RuntimeError:
        replay = partial(_in_turn, runs)
    found = eager_s(bench, replay, samples=samples, warm_s=warm_s)
    return [s / len(runs) for s in found]


@cache
def _side_stream(device: int) -> torch.cuda.Stream:
    """One for all warm-ups: each stream that multiplies gets a workspace of its own for good."""
    return torch.cuda.Stream(device)


def capture(run: Run) -> torch.cuda.CUDAGraph:
    """A CUDA graph of what `run` launches, after one call that compiles and warms up."""
    stream = _side_stream(torch.cuda.current_device())
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        run()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph


def _event_s(run: Run, repeats: int) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / repeats


def _in_turn(runs: Sequence[Run]) -> None:
    for run in runs:
        run()


def _wall_s(run: Run) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start
