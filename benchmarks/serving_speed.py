"""How fast traffic is simulated, and that memory does not grow with the trace.

    python -m benchmarks.serving_speed azure_llm_trace_2023_conv.csv

The trace is the Azure conversation hour of 2023 (Azure/AzurePublicDataset), one core. The same
scheduler taken step by step runs beside it, and the hour four times over for the memory.
"""

import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from planner.deployment import Deployment
from planner.hf_config import parse
from planner.serving import simulator
from planner.serving.replica import Replica, replica_of
from planner.serving.requests import Request
from planner.serving.scheduler import Engine
from planner.serving.simulator import Result, simulate
from planner.serving.trace import read_trace
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of


class SingleSteps(Engine):
    """No runs: one step at a time."""

    def _run(self, rows: int, context: float, until: float) -> tuple[int, float]:
        return super()._run(rows, context, self.now)


def hours(path: Path, times: int) -> Iterator[Request]:
    """The trace so many times, one after the other, read anew each time."""
    start = last = 0.0
    for _ in range(times):
        with path.open(encoding="utf-8-sig") as file:
            for request in read_trace(file):
                request.arrival_s += start
                last = request.arrival_s
                yield request
        start = last + 1


def timed(path: Path, replica: Replica, times: int = 1) -> tuple[float, Result]:
    """Seconds of one simulation, reading included: the best of three."""
    best, found = float("inf"), None
    for _ in range(3):
        start = time.process_time()
        found = simulate(hours(path, times), replica)
        best = min(best, time.process_time() - start)
    assert found is not None
    return best, found


def peak_kib(path: Path, replica: Replica, times: int) -> float:
    """Most memory that one simulation holds beyond what was there."""
    tracemalloc.start()
    simulate(hours(path, times), replica)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1024


def peer(path: Path) -> str:
    """vllm-sr-sim on the same requests, one H100; it models slots, not steps or blocks."""
    try:
        from fleet_sim import (  # type: ignore[import-not-found]
            H100_80GB,
            Fleet,
            FleetConfig,
            PoolConfig,
        )
        from fleet_sim import Request as Theirs
    except ImportError:
        return "not installed: pip install vllm-sr-sim"
    arrivals = [
        (r.arrival_s, Theirs(i, r.arrival_s, r.prompt_tokens, r.output_tokens))
        for i, r in enumerate(hours(path, 1))
    ]
    fleet = Fleet(FleetConfig([PoolConfig("one", H100_80GB, 1, 32768)]))
    start = time.process_time()
    fleet.run(arrivals)
    return f"{time.process_time() - start:.3f} s"


def main(path: Path) -> None:
    """Print the table."""
    gpu = load_gpu("h100-sxm5-80gb")
    model = parse(load_model_config("llama-3.1-8b"), "llama-3.1-8b")
    start = time.process_time()
    replica = replica_of(model, gpu, Deployment(), speed_of(gpu), max_model_len=32768)
    print(f"replica and its clock       {time.process_time() - start:.3f} s")
    seconds, found = timed(path, replica)
    print(f"{found.finished:,} requests, {found.steps:,} steps  {seconds:.3f} s")
    setattr(simulator, "Engine", SingleSteps)  # noqa: B010
    alone, _ = timed(path, replica)
    setattr(simulator, "Engine", Engine)  # noqa: B010
    print(f"the same step by step       {alone:.3f} s, {alone / seconds:.1f} times as long")
    print(f"vllm-sr-sim                 {peer(path)}")
    print(f"memory, one hour            {peak_kib(path, replica, 1):,.0f} KiB")
    print(f"memory, four hours          {peak_kib(path, replica, 4):,.0f} KiB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
