"""The plan made real: its layers with random weights, its pool, a prefill chunk, decode steps.

Every figure is predicted first, by the functions that plans are made with: bytes by `make_plan`,
seconds by `step_costs` with the roofs and kernel times measured on this card. What the card shows
as used is more than tensors by what PyTorch's allocator keeps for later: its rules are replayed.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from planner.deployment import Deployment
from planner.hardware import Gpu
from planner.model import Model
from planner.plan import Plan, make_plan
from planner.timing.roofline import Costs, Efficiencies, ideal_s, time_s
from planner.timing.step_costs import step_costs
from planner.workload import Workload
from validate.allocator import allocated_bytes
from validate.bench import Bench
from validate.built_model import BuiltModel, runnable, scaled
from validate.pass_tensors import prefill_held, weights_held
from validate.record import Case, failed, measured, skipped
from validate.timing import capture, eager_s
from validate.weight_tensors import requests

MEMORY_TOLERANCE = 0.01
EXACT_TOLERANCE = 0.001
DECODE_TOLERANCE = 0.10
PREFILL_TOLERANCE = 0.15


def fitting_plan(
    bench: Bench, model: Model, gpu: Gpu, deployment: Deployment, workload: Workload
) -> Plan | None:
    """The plan with as many layers as fit beside the memory that is left free; None if none do."""
    budget = int(gpu.memory_bytes * (1 - bench.leave_free)) if not bench.rehearsal else 2**62
    layers = model.num_hidden_layers
    while layers > 0:
        plan = make_plan(scaled(model, layers), gpu, deployment, workload)
        if plan.total_bytes_per_gpu <= budget:
            return plan
        over = plan.total_bytes_per_gpu / budget
        layers = min(layers - 1, int(layers / over) + 1)
    return None


def dry_run_cases(
    bench: Bench, name: str, model: Model, gpu: Gpu, deployment: Deployment, workload: Workload
) -> Iterator[Case]:
    """Weights, pool, peak memory, prefill and decode of one plan."""
    base = Case(f"dry_run/{name}", "dry_run", f"Dry run of {name}", "bytes", "planner.make_plan")
    plan = fitting_plan(bench, model, gpu, deployment, workload)
    if plan is None:
        yield skipped(base, "not one layer of this plan fits beside the memory to be left free")
        return
    title = name
    layers = plan.model.num_hidden_layers
    if layers < model.num_hidden_layers:
        title = f"{name}, {layers} of its {model.num_hidden_layers} layers"
    tokens = min(deployment.max_num_batched_tokens, workload.context)
    why = runnable(plan.model, deployment)
    bench.free_memory()
    before = _used_bytes(bench)
    held = _allocated_bytes(bench)
    built = BuiltModel(bench, plan)
    tensors = requests(plan)
    weights = _case(
        base, "weights", f"{title}: weights",
        sum(tensors) if bench.rehearsal else allocated_bytes(*tensors), EXACT_TOLERANCE,
    )  # fmt: skip
    yield measured(
        weights, [_allocated_bytes(bench, built) - held],
        exact_bytes=plan.stage.weights_bytes, layers=layers,
    )  # fmt: skip
    peak, fragmentation = 0, None
    built.build_pools()
    pool_bytes = sum(pool.nbytes for pool in built.pools.values())
    pool = _case(
        base, "pool", f"{title}: paged cache", plan.parts.kv_cache + plan.parts.block_rounding,
        EXACT_TOLERANCE,
    )  # fmt: skip
    yield measured(pool, [pool_bytes])
    if why:
        yield skipped(_time(base, "prefill", title, 0.0, PREFILL_TOLERANCE, {}), why)
        yield skipped(_time(base, "decode", title, 0.0, DECODE_TOLERANCE, {}), why)
    else:
        yield _prefill(bench, built, base, title, tokens)
        peak = _used_bytes(bench)
        fragmentation = _fragmentation_bytes(bench)
        yield _decode(bench, built, base, title)
    if not bench.rehearsal:
        parts = {k: getattr(plan.parts, k) for k in plan.parts.__dataclass_fields__}
        if why:
            parts |= {"activations": 0, "attention_workspace": 0}
        reserved = weights_held(plan) if why else prefill_held(plan, tokens)
        parts["allocator"] = reserved.idle_bytes
        total = _case(
            base, "memory", f"{title}: all memory on the card", sum(parts.values()),
            MEMORY_TOLERANCE,
        )  # fmt: skip
        yield measured(
            replace(total, how="planner.make_plan, and the allocator's rules replayed"),
            [max(peak, _used_bytes(bench))], before_bytes=before, parts=parts,
            after_prefill_bytes=peak, fragmentation_bytes=fragmentation,
            fragmentation_predicted_bytes=reserved.reserved_bytes - reserved.allocated_bytes,
        )  # fmt: skip
    del built
    bench.free_memory()


def _prefill(bench: Bench, built: BuiltModel, base: Case, title: str, tokens: int) -> Case:
    costs = step_costs(built.model, built.deployment, "prefill", tokens, [tokens])
    case = _time(
        base, "prefill", f"{title}: prefill of {tokens:,} tokens",
        _expected(bench, costs), PREFILL_TOLERANCE, _facts(bench, costs),
    )  # fmt: skip
    try:
        if not bench.rehearsal:
            torch.cuda.reset_peak_memory_stats(bench.device)
        static = _allocated_bytes(bench)
        ids, step = built.random_ids(tokens), built.step(tokens, decode=False)
        seconds = eager_s(bench, lambda: built.forward(ids, step), samples=5)
        extra = {} if bench.rehearsal else {
            "activation_bytes": torch.cuda.max_memory_allocated(bench.device) - static,
            "activation_predicted_bytes": built.plan.parts.activations,
        }  # fmt: skip
        return measured(case, seconds, judge=not bench.rehearsal, **extra)
    except Exception as error:
        return failed(case, f"{type(error).__name__}: {str(error).splitlines()[0]}")


def _decode(bench: Bench, built: BuiltModel, base: Case, title: str) -> Case:
    work = built.plan.workload
    costs = step_costs(
        built.model, built.deployment, "decode", 1, [work.context] * work.concurrency
    )
    case = _time(
        base, "decode",
        f"{title}: decode step of {work.concurrency:,} x {work.context:,} tokens",
        _expected(bench, costs), DECODE_TOLERANCE, _facts(bench, costs),
    )  # fmt: skip
    try:
        ids, step = built.random_ids(work.concurrency), built.step(work.concurrency, decode=True)
        if bench.rehearsal:
            seconds = eager_s(bench, lambda: built.forward(ids, step))
            return measured(case, seconds, judge=False)
        try:
            graph = capture(lambda: ids.copy_(built.forward(ids, step)))
        except RuntimeError as error:
            seconds = eager_s(bench, lambda: built.forward(ids, step), samples=9)
            return measured(case, seconds, not_captured=str(error).splitlines()[0])
        seconds = eager_s(bench, graph.replay, samples=15)
        del graph
        return measured(case, seconds)
    except Exception as error:
        return failed(case, f"{type(error).__name__}: {str(error).splitlines()[0]}")


def _expected(bench: Bench, costs: Costs) -> float | None:
    return None if bench.roofs is None else time_s(costs, bench.roofs, bench.efficiencies)


def _facts(bench: Bench, costs: Costs) -> dict[str, Any]:
    """What figures of this case need: work, bound, and where the predicted time goes."""
    found: dict[str, Any] = {
        "flops": int(costs.flops),
        "bytes": int(costs.weight_bytes + costs.kv_bytes + costs.activation_bytes),
        "launches": int(costs.launches),
    }
    roofs = bench.roofs
    if roofs is not None:
        table: Efficiencies = bench.efficiencies
        found["floor_s"] = time_s(costs, roofs)
        found["predicted_parts"] = {
            f"{w.kernel} {w.part} {w.variant} {i}": [
                w.launches, ideal_s(w, roofs)[0], table.expected_s(w, roofs)
            ]
            for i, w in enumerate(costs.work)
        }  # fmt: skip
    return found


def _case(base: Case, part: str, title: str, predicted: float, tolerance: float) -> Case:
    return replace(
        base, id=f"{base.id}/{part}", title=title, predicted=predicted, tolerance=tolerance
    )


def _time(
    base: Case, part: str, title: str, predicted: float | None, tolerance: float,
    details: dict[str, Any],
) -> Case:  # fmt: skip
    how = "planner.timing.step_costs with the roofs and kernel times measured on this card"
    return replace(
        base, id=f"{base.id}/{part}", title=title, unit="s", how=how, predicted=predicted or None,
        tolerance=tolerance, details=details,
    )  # fmt: skip


def _used_bytes(bench: Bench) -> int:
    """All memory in use on the card, this process's context included."""
    if bench.rehearsal:
        return 0
    bench.synchronize()
    free, total = torch.cuda.mem_get_info(bench.device)
    return total - free


def _fragmentation_bytes(bench: Bench) -> int | None:
    """What the allocator holds beyond its tensors at their peak."""
    if bench.rehearsal:
        return None
    held = torch.cuda.max_memory_reserved(bench.device)
    return int(held - torch.cuda.max_memory_allocated(bench.device))


def _allocated_bytes(bench: Bench, built: BuiltModel | None = None) -> int:
    """Allocated by torch; a rehearsal adds up the tensors of the model instead."""
    if not bench.rehearsal:
        return torch.cuda.memory_allocated(bench.device)
    return 0 if built is None else built.weight_bytes()
