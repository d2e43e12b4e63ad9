"""The wall: how many users really fit, found by trying, against the planner's answer."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from planner.deployment import Deployment
from planner.hardware import Gpu, gpu_with_memory
from planner.memory import total_bytes
from planner.model import Model
from planner.plan import Plan, make_plan
from planner.units import format_bytes
from planner.workload import Workload, resized
from validate.bench import Bench
from validate.built_model import BuiltModel, runnable, scaled
from validate.kv_pool import blocks_of
from validate.record import NOT_REUSED, Case, measured, skipped

BLOCK_TOLERANCE = 0.01


def most(fits: Callable[[int], bool], guess: int, limit: int) -> int:
    """The largest n in 0..limit that fits, when more never fits again; starts at a guess."""
    low, high, step = 0, limit + 1, 1
    n = max(1, min(guess, limit))
    while high - low > 1:
        if fits(n):
            low = n
            n = n + step if high > limit else (low + high) // 2
        else:
            high = n
            n = n - step if low == 0 else (low + high) // 2
        step *= 2
        n = max(low + 1, min(n, high - 1))
    return low


def wall_cases(
    bench: Bench, name: str, model: Model, gpu: Gpu, deployment: Deployment, context: int,
    layers: int = 0, pretend_bytes: int = 0,
) -> Iterator[Case]:  # fmt: skip
    """Users, then single blocks. pretend_bytes: a smaller card, for rehearsals."""
    if layers:
        model = scaled(model, layers)
    total = pretend_bytes or int(gpu.memory_bytes * (1 - bench.leave_free))
    smaller = gpu_with_memory(gpu, total)
    plan = make_plan(model, smaller, deployment, Workload(context=context, concurrency=1))
    users = plan.max_concurrency or 0
    title = f"{name} with {context:,} tokens each"
    case = Case(
        f"wall/{name}/users", "wall", f"Most users of {title}", "users",
        f"planner.plan.max_concurrency within {format_bytes(total)}", users, tolerance=0.0,
    )  # fmt: skip
    why = runnable(model, deployment)
    if why or users == 0:
        yield skipped(case, why or "not one user fits")
        return
    yield from _measured(bench, plan, case, title, users, total)


def _measured(
    bench: Bench, plan: Plan, case: Case, title: str, users: int, total: int
) -> Iterator[Case]:
    bench.free_memory()
    built = BuiltModel(bench, plan, fill=False)
    own = sum(
        len(indices) and blocks_of(mixer.window, plan.workload.context, built.block_size)
        for mixer, indices in built.kinds
    )
    block_bytes = plan.stage.sequence_bytes(plan.workload.context, built.block_size) // own
    size = total_bytes(
        plan.footprint, resized(plan.workload, plan.workload.context, users)
    )  # fmt: skip
    planned = users * own + (total - size) // block_bytes
    trial = _Trial(bench, built, total)
    try:
        found = most(trial.fits, users, 4 * users + 4)
        near = planned - found * own if found == users else own // 2
        spare = most(lambda extra: trial.fits(found, extra), near, own) if found else 0
    finally:
        trial.close()
    real = found * own + spare
    planned_for = {
        "activations": plan.stage.activations.peak_bytes(trial.tokens, users)
        + plan.stage.workspace.bytes(trial.tokens, users, plan.workload.context),
        "run time": plan.stage.runtime_bytes,
        NOT_REUSED: 0,
    }
    details: dict[str, Any] = {
        "block_bytes": block_bytes,
        "blocks_per_user": own,
        "taken_bytes": trial.taken,
    }
    done = measured(case, [found], **details)
    blocks = Case(
        case.id.replace("/users", "/blocks"), "wall", f"Most blocks for {title}", "users",
        "planner.memory.total_bytes, to the last block", planned, tolerance=BLOCK_TOLERANCE,
        details={**details, "planned_bytes": planned_for, "one_more_block": "does not fit"},
    )  # fmt: skip
    if found == users:
        yield done
    else:
        near_enough = abs(real - planned) <= BLOCK_TOLERANCE * planned
        yield replace(
            done, verdict="pass" if near_enough else "fail",
            reason=explained(planned, real, block_bytes, planned_for, trial.taken),
        )  # fmt: skip
    yield measured(blocks, [real])


def explained(
    planned: int,
    real: int,
    block_bytes: int,
    planned_for: dict[str, int],
    taken: dict[str, int],
) -> str:
    """A difference in blocks, by what took more or less memory than planned."""
    parts = []
    rest = planned - real
    for name, size in taken.items():
        blocks = round((size - planned_for.get(name, 0)) / block_bytes)
        rest -= blocks
        if blocks:
            parts.append(f"{name} {blocks:+,}")
    if rest:
        parts.append(f"not accounted for {rest:+,}")
    return (
        f"{abs(real - planned):,} blocks of {format_bytes(block_bytes)} "
        f"{'more' if real > planned else 'fewer'} than planned; blocks that were taken: "
        + ", ".join(parts)
    )


class _Trial:
    """Whether so many users really fit: pools allocated, a chunk prefilled, a step decoded."""

    def __init__(self, bench: Bench, built: BuiltModel, total: int) -> None:
        self.bench, self.built, self.total = bench, built, total
        self.tokens = min(built.deployment.max_num_batched_tokens, built.plan.workload.context)
        self.other_bytes = 0
        self.taken: dict[str, int] = {}
        built.build_pools(1)
        self._run(1)
        if not bench.rehearsal:
            free, whole = torch.cuda.mem_get_info(bench.device)
            self.other_bytes = whole - free - torch.cuda.memory_reserved(bench.device)
            share = (total - self.other_bytes) / whole
            torch.cuda.set_per_process_memory_fraction(share, bench.device)

    def close(self) -> None:
        self.built.pools.clear()
        if not self.bench.rehearsal:
            torch.cuda.set_per_process_memory_fraction(1.0, self.bench.device)

    def fits(self, users: int, extra_blocks: int = 0) -> bool:
        if self.bench.rehearsal:
            return self._fits_on_paper(users, extra_blocks)
        try:
            self.built.build_pools(users, extra_blocks=extra_blocks)
            torch.cuda.reset_peak_memory_stats(self.bench.device)
            static = torch.cuda.memory_allocated(self.bench.device)
            self._run(users)
            peak = torch.cuda.max_memory_allocated(self.bench.device)
            reserved = torch.cuda.max_memory_reserved(self.bench.device)
            self.taken = {
                "activations": peak - static,
                "run time": self.other_bytes + static - self._planned_tensors(),
                NOT_REUSED: reserved - peak,
            }
        except torch.OutOfMemoryError:
            return False
        return True

    def _planned_tensors(self) -> int:
        pools = sum(p.nbytes + p.table.nbytes for p in self.built.pools.values())
        return self.built.weight_bytes() + pools

    def _run(self, users: int) -> None:
        built = self.built
        built.forward(built.random_ids(self.tokens), built.step(self.tokens, decode=False))
        built.forward(built.random_ids(users), built.step(users, decode=True))
        self.bench.synchronize()

    def _fits_on_paper(self, users: int, extra_blocks: int) -> bool:
        """A rehearsal allocates the real tensors and adds them up against a pretended card."""
        self.built.build_pools(users, extra_blocks=extra_blocks)
        plan = self.built.plan
        work = plan.stage.activations.peak_bytes(self.tokens, users)
        work += plan.stage.workspace.bytes(self.tokens, users, plan.workload.context)
        held = self._planned_tensors() + work + plan.stage.runtime_bytes
        return held <= self.total
