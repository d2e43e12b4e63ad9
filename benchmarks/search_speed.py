"""How many candidate points a second a search tries, and how much of that is compiling.

    python -m benchmarks.search_speed [--model llama-3.3-70b-instruct]

A point is one GPU x deployment x chunk size x number of users, with its memory, TTFT, TPOT and
throughput under load. NumPy's elementwise functions use one core. The plain loop makes the same
figures point by point with make_plan() and latency(), in the same run.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np

from planner.errors import PlanRefused
from planner.footprint import DEFAULT_SM_COUNT
from planner.hf_config import parse
from planner.plan import make_plan
from planner.search import search, user_steps
from planner.search_space import CACHES, CHUNKS, WEIGHTS, Space, Target, deployments
from planner.search_sweep import compile_deployment, memory_of, sweep
from planner.timing.latency import Request, latency
from planner.timing.speed_grid import GpuGrid
from planner.workload import Workload
from presets.models import load_model_config
from presets.offers import offers
from presets.speed import speed_of

REPEATS = 5
PLAIN_POINTS = 300


def main() -> None:
    """Print points a second of the sweep, of the whole search, and of the plain loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3.3-70b-instruct")
    config = load_model_config(parser.parse_args().model)
    model = parse(config)
    known = offers()
    gpus = list({offer.gpu.id: offer.gpu for offer in known}.values())
    speeds = [speed_of(gpu) for gpu in gpus]
    grid = GpuGrid(gpus, speeds)
    cores = np.array([gpu.sm_count or DEFAULT_SM_COUNT for gpu in gpus])
    target = Target(request=Request(), concurrency=50, ttft_p95_s=2.0, tpot_s=0.04)
    users = user_steps(target.concurrency)
    space = Space(weights_dtypes=WEIGHTS, kv_cache_dtypes=CACHES)
    compiled = []
    for deployment in deployments(model, space):
        try:
            found = compile_deployment(model, deployment, target, users, CHUNKS)
            memory_of(model, gpus[0], deployment, target, users, CHUNKS, cores)
        except PlanRefused:
            continue
        compiled.append(found)
    points = len(compiled) * len(gpus) * len(CHUNKS) * len(users)

    def everything() -> None:
        for found in compiled:
            memory_of(model, gpus[0], found.deployment, target, users, CHUNKS, cores)
            sweep(found, grid)

    seconds = fastest(everything)
    print(f"{points:,} points over {len(compiled)} deployments and {len(gpus)} GPUs")
    print(f"sweep over compiled coefficients  {points / seconds:12,.0f} points/s")
    fresh = parse(config)
    start = time.perf_counter()
    tried = search(fresh, known, speed_of, target, space).points
    print(f"whole search, compiling included  {tried / (time.perf_counter() - start):12,.0f}")
    start = time.perf_counter()
    for i in range(PLAIN_POINTS):
        found, gpu = compiled[i % len(compiled)], gpus[i % len(gpus)]
        asked = int(users[i % len(users)])
        work = Workload(context=target.request.context, concurrency=asked)
        chosen = found.deployment.replace(max_num_batched_tokens=CHUNKS[i % len(CHUNKS)])
        make_plan(model, gpu, chosen, work)
        latency(model, gpu, chosen, speeds[i % len(gpus)], target.request, asked)
    plain = PLAIN_POINTS / (time.perf_counter() - start)
    print(f"point by point                    {plain:12,.0f}")
    print(f"sweep against point by point      {points / seconds / plain:12,.0f} times")


def fastest(run: Callable[[], None]) -> float:
    """Seconds of the fastest of REPEATS runs."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
