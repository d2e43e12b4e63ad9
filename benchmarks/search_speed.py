"""How many candidate points a second a search tries, and how much of that is compiling.

    python -m benchmarks.search_speed [--model llama-3.3-70b-instruct]

A point is one GPU x deployment x engine x chunk size x number of users, with its memory by that
engine's rule and its TTFT, TPOT and throughput under load. NumPy's elementwise functions use one
core. The plain loop makes the same figures point by point with the engine's own figures and
latency(), in the same run.
"""

import argparse
import time
from collections.abc import Callable
from contextlib import suppress

from planner.admission.admission import Asked
from planner.admission.rules import rule_of
from planner.engines.platforms import not_on
from planner.engines.registry import ENGINES
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.hf_config import parse
from planner.search.search import search, user_steps
from planner.search.space import CACHES, CHUNKS, IDEAL, SERVING, WEIGHTS, Space, Target, deployments
from planner.search.sweep import Compiled, compile_deployment, sweep
from planner.timing.latency import Request, latency
from planner.timing.speed_grid import GpuGrid
from planner.workload import Workload
from presets.models import load_model_config
from presets.offers import offers
from presets.speed import speed_of

REPEATS = 5
PLAIN_POINTS = 300
TARGET = Target(request=Request(), concurrency=50, ttft_p95_s=2.0, tpot_s=0.04)


def main() -> None:
    """Print points a second of the sweep, of the whole search, and of the plain loop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llama-3.3-70b-instruct")
    config = load_model_config(parser.parse_args().model)
    model = parse(config)
    known = offers()
    gpus = tuple({offer.gpu.id: offer.gpu for offer in known}.values())
    speeds = [speed_of(gpu) for gpu in gpus]
    grid = GpuGrid(gpus, speeds)
    users = user_steps(TARGET.concurrency)
    engines = (IDEAL, *SERVING)
    space = Space(weights_dtypes=WEIGHTS, kv_cache_dtypes=CACHES, engines=engines)
    rules = {engine: rule_of(engine, model, config) for engine in engines}
    able = {e: tuple(gpu for gpu in gpus if not_on(e, gpu) is None) for e in engines}
    compiled: list[Compiled] = []
    taken: list[tuple[str, Compiled]] = []
    for deployment in deployments(model, space):
        try:
            found = compile_deployment(model, deployment, TARGET, users, CHUNKS)
        except PlanRefused:
            continue
        compiled.append(found)
        for engine, rule in rules.items():
            try:
                rule.admission(asked(found, able[engine]))
            except PlanRefused:
                continue
            taken.append((engine, found))
    points = sum(len(able[engine]) for engine, _ in taken) * len(CHUNKS) * len(users)

    def everything() -> None:
        for found in compiled:
            sweep(found, grid)
        for engine, found in taken:
            rules[engine].admission(asked(found, able[engine])).over(found.sequences)

    seconds = fastest(everything)
    print(
        f"{points:,} points over {len(compiled)} deployments, {len(gpus)} GPUs and "
        f"{len(engines)} engines"
    )
    print(f"sweep over compiled coefficients  {points / seconds:12,.0f} points/s")
    fresh = parse(config)
    start = time.perf_counter()
    tried = search(fresh, known, speed_of, TARGET, space, config=config).points
    print(f"whole search, compiling included  {tried / (time.perf_counter() - start):12,.0f}")
    start = time.perf_counter()
    for i in range(PLAIN_POINTS):
        engine, found = taken[i * 7919 % len(taken)]
        gpu = able[engine][i % len(able[engine])]
        wanted = int(users[i % len(users)])
        chosen = found.deployment.replace(max_num_batched_tokens=CHUNKS[i % len(CHUNKS)])
        work = Workload(context=TARGET.request.context, concurrency=wanted)
        if engine == IDEAL:
            rules[engine].admission(asked(found, (gpu,)))
        else:
            options = rules[engine].options(gpu, chosen, work.context, int(found.sequences[0]))
            with suppress(PlanRefused):
                ENGINES[engine].figures(model, gpu, chosen, options, work, config=config)
        latency(model, gpu, chosen, speed_of(gpu), TARGET.request, wanted)
    plain = PLAIN_POINTS / (time.perf_counter() - start)
    print(f"point by point                    {plain:12,.0f}")
    print(f"sweep against point by point      {points / seconds / plain:12,.0f} times")


def asked(found: Compiled, gpus: tuple[Gpu, ...]) -> Asked:
    """The question to an engine's rule that a search asks of a deployment."""
    return Asked(gpus, found.deployment, TARGET.request.context, found.sequences, CHUNKS)


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
