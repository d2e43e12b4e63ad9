"""Two warp groups of one multiprocessor that take turns at the tensor cores (FlashAttention-3).

    work = step_work(heads, gpu)
    ping_pong(work, steps=4).seconds
    in_turn(work, steps=4).seconds

A group computes Q K^T of its first tile, then for each tile the exponentials, and P V together
with Q K^T of the next tile. Tensor cores and special-function units each serve one group at a
time. Copies are not drawn: a third group fetches tiles, from an L2 cache whose rate no data gives.
Source: Shah et al. 2024 (arXiv 2407.08608, section 3.1).
"""

from dataclasses import dataclass

from planner.attention import Heads
from planner.errors import PlanRefused
from planner.hardware import Gpu
from planner.lessons.flash_versions import exponentials_per_s
from planner.lessons.parallel_timeline import Doing, Span, Timeline

GROUPS = 2
QUERIES = 64
"""Rows of one warp group: a warp-group product on Hopper is 64 rows high."""
KEYS = 128


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds of one multiprocessor for one tile of one group."""

    scores_s: float
    exponentials_s: float
    values_s: float


def step_work(heads: Heads, gpu: Gpu) -> Work:
    """QUERIES x KEYS at the peaks of `gpu`. Raises PlanRefused where a rate is not known."""
    peak = gpu.bf16_flops_per_s or gpu.fp16_flops_per_s
    exponentials = exponentials_per_s(gpu)
    if peak is None or gpu.sm_count is None:
        raise PlanRefused(f"{gpu.name}: no 16-bit arithmetic rate is known")
    pairs = QUERIES * KEYS
    each = peak / gpu.sm_count
    return Work(
        scores_s=2 * pairs * heads.score_dim / each,
        exponentials_s=pairs * gpu.sm_count / exponentials,
        values_s=2 * pairs * heads.value_dim / each,
    )


def ping_pong(work: Work, steps: int) -> Timeline:
    """One group has the tensor cores while the other computes exponentials."""
    return _schedule(work, steps, {"products": 0, "exponentials": 1})


def in_turn(work: Work, steps: int) -> Timeline:
    """Nothing overlaps, as if both units were one."""
    return _schedule(work, steps, {"products": 0, "exponentials": 0})


def tensor_share(found: Timeline) -> float:
    """Share of the time that the tensor cores are busy."""
    return sum(s.end_s - s.start_s for s in found.spans if s.doing == "products") / found.seconds


def _tasks(work: Work, steps: int) -> list[tuple[Doing, str, float]]:
    found: list[tuple[Doing, str, float]] = [("products", "Q Kᵀ of tile 1", work.scores_s)]
    for tile in range(1, steps + 1):
        found.append(("exponentials", f"softmax of tile {tile}", work.exponentials_s))
        if tile < steps:
            both = work.values_s + work.scores_s
            found.append(("products", f"P V of tile {tile}, Q Kᵀ of tile {tile + 1}", both))
    return [*found, ("products", f"P V of tile {steps}", work.values_s)]


def _schedule(work: Work, steps: int, unit_of: dict[Doing, int]) -> Timeline:
    """Each task as early as its group and its unit allow; a tie goes to who waits longest."""
    waiting = [_tasks(work, steps) for _ in range(GROUPS)]
    ready, free = [0.0] * GROUPS, [0.0, 0.0]
    spans: list[Span] = []
    while any(waiting):
        start, _, group = min(
            (max(ready[g], free[unit_of[tasks[0][0]]]), ready[g], g)
            for g, tasks in enumerate(waiting)
            if tasks
        )
        doing, what, seconds = waiting[group].pop(0)
        if start > ready[group]:
            spans.append(Span(group, "wait", "waits for the other group", ready[group], start))
        spans.append(Span(group, doing, what, start, start + seconds))
        ready[group] = free[unit_of[doing]] = start + seconds
    holds = tuple(f"{QUERIES} queries" for _ in range(GROUPS))
    return Timeline(GROUPS, tuple(spans), holds, "nothing")


def above(first: Timeline, second: Timeline) -> Timeline:
    """Both in one picture, the rows of `second` below."""
    below = tuple(
        Span(s.rank + first.ranks, s.doing, s.what, s.start_s, s.end_s) for s in second.spans
    )
    return Timeline(
        first.ranks + second.ranks, first.spans + below, first.holds + second.holds, first.sends
    )
