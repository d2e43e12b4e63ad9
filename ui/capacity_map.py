"""Context x users: how much of a GPU each combination takes, and the frontier where it is full."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor, log2
from typing import Any

from planner.capacity import max_context_tokens
from planner.plan import Plan
from planner.sweep import total_bytes_grid
from planner.units import format_tokens
from planner.workload import MAX_SEQUENCES, MAX_TOKENS

CELLS = 64
TABLE_ROWS = 10


@dataclass(frozen=True, slots=True)
class CapacityMap:
    """used[users][contexts] is the share of the binding GPU's memory; exponents are log2.

    contexts and users are where the cells lie, even in log2; a cell stands for the whole number
    nearest to it.
    """

    contexts: list[float]
    users: list[float]
    used: Any
    context_exponents: tuple[int, int]
    user_exponents: tuple[int, int]


def capacity_map(plan: Plan) -> CapacityMap:
    """A 64 x 64 grid around the plan, both axes even in log2 and wide enough for the frontier."""
    work = plan.workload
    stated = plan.model.max_position_embeddings or 0
    longest = max(2 * work.context, stated, 2**15)
    x = (min(10, floor(log2(work.context))), min(ceil(log2(longest)), ceil(log2(MAX_TOKENS))))
    most = plan.max_concurrency or work.concurrency
    crowd = max(work.concurrency * 2, min(most * 4, MAX_SEQUENCES), 64)
    y = (0, min(ceil(log2(crowd)), ceil(log2(MAX_SEQUENCES))))
    contexts, users = _points(*x), _points(*y)
    totals = total_bytes_grid(
        plan.footprint, [round(n) for n in contexts], [round(n) for n in users], work
    )
    used = (totals / plan.gpu.memory_bytes).astype("float32")
    return CapacityMap(contexts, users, used, x, y)


def _points(low: int, high: int) -> list[float]:
    step = (high - low) / (CELLS - 1)
    return [2.0 ** (low + i * step) for i in range(CELLS)]


def frontier(plan: Plan, users: Iterable[int]) -> list[tuple[int, int]]:
    """(users, longest context), exactly; 0 tokens where not even the shortest context fits."""
    memory = plan.gpu.memory_bytes
    found = []
    for n in users:
        work = plan.workload.model_copy(update={"concurrency": n})
        found.append((n, max_context_tokens(plan.footprint, memory, work)))
    return found


def frontier_line(plan: Plan, grid: CapacityMap) -> list[tuple[int, int]]:
    """The frontier for every whole number of users that the map shows a row of."""
    rows = sorted({round(n) for n in grid.users})
    return [(users, tokens) for users, tokens in frontier(plan, rows) if tokens]


def frontier_rows(plan: Plan, grid: CapacityMap) -> list[tuple[str, str]]:
    """The frontier at powers of two, as text for a table."""
    low, high = grid.user_exponents
    stride = max(1, ceil((high - low + 1) / TABLE_ROWS))
    found = frontier(plan, (2**e for e in range(low, high + 1, stride)))
    return [(format_tokens(n), _longest(tokens)) for n, tokens in found]


def _longest(tokens: int) -> str:
    if tokens >= MAX_TOKENS:
        return "memory sets no limit"
    return format_tokens(tokens) if tokens else "none fits"


def short_tokens(n: int) -> str:
    """Token counts for an axis, in binary thousands: 32768 -> '32k', 2097152 -> '2M'."""
    for unit, name in ((2**20, "M"), (2**10, "k")):
        if n >= unit and n % unit == 0:
            return f"{n // unit}{name}"
    return format_tokens(n)
