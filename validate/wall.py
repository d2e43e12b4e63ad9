"""The wall: how many users really fit, found by trying, against the planner's answer."""

from collections.abc import Callable, Iterator

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
from validate.record import Case, measured, skipped

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
    activations = trial.activation_bytes
    predicted = plan.stage.activations.peak_bytes(trial.tokens, users)
    why = "" if found == users else (
        f"{abs(real - planned):,} blocks of {format_bytes(block_bytes)} "
        f"{'more' if real > planned else 'fewer'} than planned: activations took "
        f"{format_bytes(activations)} where {format_bytes(predicted)} were estimated"
    )  # fmt: skip
    done = measured(case, [found], blocks_per_user=own, block_bytes=block_bytes)
    blocks = Case(
        case.id.replace("/users", "/blocks"), "wall", f"Most blocks for {title}", "users",
        "planner.memory.total_bytes, to the last block", planned, tolerance=BLOCK_TOLERANCE,
        details={
            "block_bytes": block_bytes, "activation_bytes": activations,
            "activation_predicted_bytes": predicted, "other_bytes": trial.other_bytes,
            "with_one_more_block": "does not fit" if found else "not tried",
        },
    )  # fmt: skip
    blocks = measured(blocks, [real])
    explained = abs(real - planned) <= BLOCK_TOLERANCE * planned
    verdict = "pass" if found == users or explained else "fail"
    yield Case(**{**done.__dict__, "verdict": verdict, "reason": why})
    yield blocks
    del built
    bench.free_memory()


class _Trial:
    """Whether so many users really fit: pools allocated, a chunk prefilled, a step decoded."""

    def __init__(self, bench: Bench, built: BuiltModel, total: int) -> None:
        self.bench, self.built, self.total = bench, built, total
        self.tokens = min(built.deployment.max_num_batched_tokens, built.plan.workload.context)
        self.activation_bytes = self.other_bytes = 0
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
            self.activation_bytes = peak - static
        except torch.OutOfMemoryError:
            return False
        return True

    def _run(self, users: int) -> None:
        built = self.built
        built.forward(built.random_ids(self.tokens), built.step(self.tokens, decode=False))
        built.forward(built.random_ids(users), built.step(users, decode=True))
        self.bench.synchronize()

    def _fits_on_paper(self, users: int, extra_blocks: int) -> bool:
        """A rehearsal allocates the real tensors and adds them up against a pretended card."""
        self.built.build_pools(users, extra_blocks=extra_blocks)
        pools = sum(p.nbytes + p.table.nbytes for p in self.built.pools.values())
        plan = self.built.plan
        work = plan.stage.activations.peak_bytes(self.tokens, users)
        work += plan.stage.workspace.bytes(self.tokens, users, plan.workload.context)
        held = self.built.weight_bytes() + pools + work + plan.stage.runtime_bytes
        return held <= self.total
