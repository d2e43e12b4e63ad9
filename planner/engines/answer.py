"""A plan with an engine: the engine's answer first, then memory's; both as data."""

from collections.abc import Mapping
from typing import Any

from planner.engines.engine import EngineFigures
from planner.engines.export import engine_data
from planner.engines.registry import called
from planner.export import as_data
from planner.plan import Plan
from planner.units import counted, format_tokens
from planner.verdict import verdict


def opening(plan: Plan, engine: EngineFigures | None) -> str:
    """The verdict; where an engine was chosen its answer comes first."""
    if engine is None:
        return verdict(plan)
    without = ", without what drafts" if engine.drafts else ""
    return f"{engine_verdict(plan, engine)} By bytes alone{without}: {verdict(plan)}"


def plan_data(
    plan: Plan, config: Mapping[str, Any] | None, engine: EngineFigures
) -> dict[str, Any]:
    """The plan's JSON with the engine's part, and the verdict that both lead to."""
    answer = {"verdict": opening(plan, engine), "engine": engine_data(engine)}
    return {**as_data(plan, config), **answer}


def serves(plan: Plan, engine: EngineFigures) -> int:
    """Sequences of the workload over all replicas; 0 where it would not start."""
    if engine.refused is not None:
        return 0
    return engine.requests * plan.deployment.data_parallel_size


def engine_verdict(plan: Plan, engine: EngineFigures) -> str:
    """Whether the engine starts and serves the workload, and which single flags would do."""
    name = called(engine.name, engine.version)
    if engine.refused is not None:
        tokens = counted(plan.workload.context, "token")
        single = lifted(engine) or f"no single flag of its own starts it for {tokens}"
        few = shorter(plan, engine) + too_few(plan, engine)
        return f"{name} would refuse to start; {single}{few}.{doubt(engine)}{room(engine)}"
    work, held = plan.workload, serves(plan, engine)
    wanted = counted(work.concurrency, "sequence")
    context = engine.length_served(work.context)
    clipped = ""
    if context < work.context:
        clipped = f"; you asked for {format_tokens(work.context)}, beyond its limit"
    size = f"of {counted(context, 'token')}"
    slow = f"; {engine.on_cpu} on the CPU set its pace" * bool(engine.on_cpu)
    if held >= work.concurrency and not clipped:
        return f"{name} starts and holds {wanted} {size} ({held:,} at most){slow}.{doubt(engine)}"
    if held >= work.concurrency:
        most = f"at most {held:,} sequences {size}"
        return f"{name} starts, but takes {most}{clipped}{slow}.{doubt(engine)}"
    few = f"only {held:,}" if held else "none"
    return (
        f"{name} starts, but holds {few} of {wanted} {size} at once"
        f"{clipped}; {the_rest(held)}.{doubt(engine)}{room(engine)}"
    )


def doubt(engine: EngineFigures) -> str:
    """Where the estimates decide whether it starts, as a sentence after a space."""
    if not engine.doubtful:
        return ""
    if engine.refused is not None:
        return " At the low end of the estimates it would start."
    return " It is tight: at the high end of the estimates it would refuse to start."


def the_rest(held: int) -> str:
    """What becomes of the sequences beyond those that it holds."""
    return "the rest would wait" if held else "a request that long never runs"


def lifted(engine: EngineFigures) -> str:
    """Which single flags lift a refusal, if any, and on what that hangs."""
    if not engine.remedies:
        return ""
    estimated = any(part.is_range for part in engine.components.values())
    return f"{' or '.join(engine.remedies)} works" + ", if the estimates hold" * estimated


def room(engine: EngineFigures) -> str:
    """The changes that make room for the whole workload, as a sentence after a space."""
    refused = engine.refused is not None
    changes = engine.serving if refused else engine.remedies
    if not changes:
        return ""
    lead = "Any one of these" if len(changes) > 1 else "One change"
    return f" {lead} will {'serve all' if refused else 'do'}: {'; '.join(changes)}."


def too_few(plan: Plan, engine: EngineFigures) -> str:
    """How many sequences the flags that lift a refusal then hold, where none holds all."""
    if max(engine.remedies_hold, default=plan.workload.concurrency) >= plan.workload.concurrency:
        return ""
    found = " or ".join(f"{held:,}" for held in dict.fromkeys(engine.remedies_hold))
    return f", but then holds {found} of {counted(plan.workload.concurrency, 'sequence')}"


def shorter(plan: Plan, engine: EngineFigures) -> str:
    """Which of the remedies cut requests below the workload's context."""
    for remedy in engine.remedies:
        flag, _, value = remedy.partition(" ")
        if flag in LENGTHS and int(value) < plan.workload.context:
            return f" ({flag} is below your {format_tokens(plan.workload.context)} tokens)"
    return ""


LENGTHS = ("--max-model-len", "--max_seq_len", "-c")
