"""Times at sizes that no ladder measured, and the claims that flash and paged attention live by."""

from collections.abc import Iterator
from statistics import median

import torch

from kernels.flash import flash_attention
from kernels.naive import naive_attention
from planner.deployment import Deployment
from planner.hardware import Gpu
from planner.model import Model
from planner.plan import make_plan
from planner.timing.roofline import Efficiencies, ideal_s, time_s
from planner.timing.step_costs import step_costs
from planner.workload import Workload
from validate.bench import DTYPES, Bench
from validate.built_model import BuiltModel, scaled
from validate.kernel_points import LADDERS, timed
from validate.memory_meter import meter
from validate.record import Case, measured
from validate.timing import capture, eager_s

TOLERANCE = 0.10
CACHED_TOLERANCE = 0.25


def held_out_cases(
    bench: Bench, kernel: str, sizes: list[tuple[int, ...]], **options: str
) -> Iterator[Case]:
    """One kernel at sizes between those of its ladder."""
    table: Efficiencies = bench.efficiencies
    for work, runs, replay in LADDERS[kernel](bench, sizes, **options):
        roofs = bench.roofs
        assert roofs is not None
        ideal, bound = ideal_s(work, roofs)
        case = Case(
            f"speed/{work.kernel}/{work.part}".replace(" ", "-"), "speed",
            work.part[:1].upper() + work.part[1:], "s",
            "planner.timing.roofline with the roofs and kernel times measured on this card",
            table.expected_s(work, roofs), tolerance=TOLERANCE,
            details={
                "kernel": work.kernel, "variant": work.variant, "bound": bound, "floor_s": ideal,
                "flops": work.flops, "bytes": work.bytes,
            },
        )  # fmt: skip
        seconds = timed(bench, runs, replay, bound)
        yield measured(case, seconds, judge=not bench.rehearsal)
    bench.free_memory()


def flash_claims(bench: Bench, tokens: list[int], heads: int, dim: int) -> Iterator[Case]:
    """Flash against naive attention: time, memory, and how memory grows with length."""
    dtype = DTYPES[bench.floats]
    peaks: dict[int, tuple[int, int]] = {}
    for n in tokens:
        q, k, v = (bench.random(1, n, heads, dim, dtype=dtype) for _ in range(3))

        def naive(q=q, k=k, v=v):  # type: ignore[no-untyped-def]
            return naive_attention(q, k, v)

        def flash(q=q, k=k, v=v):  # type: ignore[no-untyped-def]
            return flash_attention(q, k, v)

        times = [median(eager_s(bench, run, samples=5)) for run in (naive, flash)]
        time_case = Case(
            f"speed/claims/flash-time-{n}", "speed",
            f"Flash attention's time as a share of naive attention's, {n:,} tokens", "x",
            "published: 2 to 4 times faster", 0.5, at_most=True,
            details={"naive_s": times[0], "flash_s": times[1]},
        )  # fmt: skip
        yield measured(time_case, [times[1] / times[0]], judge=not bench.rehearsal)
        found = []
        for run in (naive, flash):
            with meter(bench) as seen:
                run()
            found.append(seen.peak_bytes)
        peaks[n] = (found[0], found[1])
        memory_case = Case(
            f"speed/claims/flash-memory-{n}", "speed",
            f"Flash attention's memory as a share of naive attention's, {n:,} tokens", "x",
            "published: 10 to 20 times less", 0.1, at_most=True,
            details={"naive_bytes": found[0], "flash_bytes": found[1]},
        )  # fmt: skip
        yield measured(memory_case, [found[1] / found[0]], judge=not bench.rehearsal)
        del q, k, v
    first, last = tokens[-2], tokens[-1]
    growth = last / first
    for index, (name, power) in enumerate((("naive", 2), ("flash", 1))):
        grown = peaks[last][index] / peaks[first][index]
        case = Case(
            f"speed/claims/growth-{name}", "speed",
            f"Growth of {name} attention's memory from {first:,} to {last:,} tokens", "x",
            "O(n^2)" if power == 2 else "O(n)", growth**power, tolerance=0.05,
        )  # fmt: skip
        yield measured(case, [grown], judge=not bench.rehearsal)


def cached_case(
    bench: Bench, model: Model, gpu: Gpu, deployment: Deployment, layers: int, context: int
) -> Iterator[Case]:
    """A token from the cache against computing the whole sequence again."""
    small = scaled(model, layers)
    plan = make_plan(small, gpu, deployment, Workload(context=context, concurrency=1))
    built = BuiltModel(bench, plan)
    built.build_pools()
    roofs, predicted = bench.roofs, None
    again = step_costs(small, deployment, "prefill", context, [context])
    once = step_costs(small, deployment, "decode", 1, [context])
    if roofs is not None:
        table = bench.efficiencies
        predicted = time_s(again, roofs, table) / time_s(once, roofs, table)
    case = Case(
        f"speed/claims/cached-{context}", "speed",
        f"Computing {context:,} tokens again, in decode steps from the cache ({layers} layers)",
        "x", "planner.timing.step_costs with this card's roofs and kernel times", predicted,
        tolerance=CACHED_TOLERANCE, details={"flops_ratio": again.flops / once.flops},
    )  # fmt: skip
    ids, step = built.random_ids(context), built.step(context, decode=False)
    slow = median(eager_s(bench, lambda: built.forward(ids, step), samples=5))
    one, step = built.random_ids(1), built.step(1, decode=True)
    if bench.rehearsal:
        fast = median(eager_s(bench, lambda: built.forward(one, step)))
    else:
        graph: torch.cuda.CUDAGraph = capture(lambda: built.forward(one, step))
        fast = median(eager_s(bench, graph.replay, samples=9))
        del graph
    yield measured(case, [slow / fast], judge=not bench.rehearsal)
