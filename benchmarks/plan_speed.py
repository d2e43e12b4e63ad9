"""How fast a plan is, beside a peer timed in the same run.

    pip install kvfit==0.3.0 && python -m benchmarks.plan_speed

Prints one table. Times are the best of REPEATS rounds; the peer's rows do less (cache and a
weights-per-rank division, no working memory, no derivation), so its ratio is a lower bound.
"""

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from planner.deployment import Deployment
from planner.export import as_data
from planner.hf_config import parse
from planner.plan import make_plan
from planner.sweep import total_bytes_grid
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

REPEATS = 7
PLAN = ("plan", "--model", "llama-3.1-8b", "--gpu", "l40s")
CALLS = 2000


def best_us(call: Callable[[int], object], calls: int = CALLS) -> float:
    """Microseconds a call, best of REPEATS rounds over different inputs."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        for i in range(calls):
            call(i)
        best = min(best, (time.perf_counter() - start) / calls)
    return 1e6 * best


def process_s(*arguments: str) -> float:
    """Seconds of a whole Python process, best of REPEATS."""
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - start)
    return best


def ours() -> list[tuple[str, str]]:
    """Rows about this project."""
    gpu, deployment = load_gpu("h100-sxm5-80gb"), Deployment()
    config = load_model_config("llama-3.1-8b")
    llama, gemma = parse(config), parse(load_model_config("gemma-3-27b-it"))

    def work(i: int) -> Workload:
        return Workload(context=1000 + i, concurrency=1 + i % 50)

    def complete(i: int) -> object:
        plan = make_plan(llama, gpu, deployment, work(i))
        return plan.fits, plan.parts, plan.max_concurrency, plan.max_context_tokens

    fresh = itertools.count(1)

    def other_deployment(i: int) -> object:
        return make_plan(llama, gpu, Deployment(max_num_batched_tokens=next(fresh)), work(i))

    contexts, users = np.arange(1, 65) * 2048, np.arange(1, 65)

    def whole_map(_: int) -> object:
        compiled = make_plan(gemma, gpu, deployment, work(0)).footprint
        return total_bytes_grid(compiled, contexts, users)

    plan_us = best_us(lambda i: make_plan(llama, gpu, deployment, work(i)))
    complete_us = best_us(complete)
    return [
        ("plan, Llama-3.1-8B, new workload", f"{plan_us:.1f} us ({1e6 / plan_us:,.0f} a second)"),
        (
            "the same with parts, most users, longest context",
            f"{complete_us:.1f} us ({1e6 / complete_us:,.0f} a second)",
        ),
        ("plan on a deployment not seen before", f"{best_us(other_deployment, 300):.0f} us"),
        ("config to Model", f"{best_us(lambda _: parse(config), 100):.0f} us"),
        (
            "every line of the JSON",
            f"{best_us(lambda i: as_data(make_plan(llama, gpu, deployment, work(i))), 100):.0f} us",
        ),
        ("64 x 64 map, Gemma-3-27B", f"{best_us(whole_map, 50) / 1000:.2f} ms"),
        (
            "whole process, python -m planner plan",
            f"{process_s('-m', 'planner', *PLAN):.3f} s",
        ),
        (
            "whole process, python -c 'import pydantic'",
            f"{process_s('-c', 'import pydantic'):.3f} s",
        ),
    ]


def peer() -> list[tuple[str, str]]:
    """Rows about kvfit, where it is installed."""
    try:
        from kvfit import estimate_cache
        from kvfit.hardware import parse_hardware
        from kvfit.planner import plan_topologies
    except ImportError:
        return [("kvfit", "not installed: pip install kvfit==0.3.0")]
    config: dict[str, Any] = load_model_config("llama-3.1-8b")
    hardware = parse_hardware("h100")

    def one(i: int) -> object:
        cache = estimate_cache(config, context_tokens=1000 + i)
        return plan_topologies(
            cache, weight_bytes=16_060_522_496, hardware=hardware, gpus=1, utilization=1.0
        )

    return [("kvfit 0.3.0: cache and sequences, Llama-3.1-8B", f"{best_us(one):.1f} us")]


def main() -> None:
    """Print the table."""
    rows = [*ours(), *peer()]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        print(f"{label:<{width}}  {value}")


if __name__ == "__main__":
    main()
