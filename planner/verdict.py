"""The answer in a sentence."""

from planner.fixes import Fix, fixes
from planner.formats.format_support import missing
from planner.plan import Plan
from planner.positions import OVERRIDE, beyond_stated, reach
from planner.units import counted, format_bytes, format_tokens


def verdict(plan: Plan) -> str:
    """Whether it fits, how much room is left or missing, and what would make it fit."""
    gpus = plan.deployment.gpus
    where = plan.gpu.name if gpus == 1 else f"{gpus} × {plan.gpu.name}"
    users = plan.workload.concurrency
    verb = "is" if users == 1 else "are"
    what = f"{counted(users, 'sequence')} of {counted(plan.workload.context, 'token')}"
    prefix = min(plan.workload.shared_prefix_tokens, plan.workload.context)
    if prefix and users > 1:
        what += f", {format_tokens(prefix)} of them shared by all"
    if plan.fits:
        spare = format_bytes(plan.headroom_bytes)
        each = "" if gpus == 1 else " per GPU"
        against = hindrance(plan)
        if against is not None:
            return f"Fits in the memory of {where}, but {against}."
        return " ".join((f"Fits on {where}: {what}, {spare} to spare{each}.", *cautions(plan)))
    short = format_bytes(-plan.headroom_bytes)
    each = "" if gpus == 1 else " on the fullest GPU"
    return f"Does not fit on {where}: {what} {verb} {short} short{each}. {remedy(fixes(plan))}"


def cautions(plan: Plan) -> tuple[str, ...]:
    """Sentences on what a plan that fits still hangs on."""
    found = []
    over = plan.range_bytes[1] - plan.gpu.memory_bytes
    if over > 0:
        short = format_bytes(over)
        found.append(f"It is tight: with every estimate at its high end it would be {short} short.")
    if beyond_stated(plan.model, plan.workload.context) is not None:
        stated = format_tokens(reach(plan.model).supported_tokens or 0)
        found.append(f"But the configuration states {stated} positions, and {OVERRIDE}.")
    return tuple(found)


def hindrance(plan: Plan) -> str | None:
    """What keeps a plan from being served wherever its bytes lie; None where nothing does."""
    reached = reach(plan.model)
    if reached.hard and plan.workload.context > (reached.supported_tokens or 0):
        return (
            f"the model has only {format_tokens(reached.supported_tokens or 0)} positions: "
            f"{format_tokens(plan.workload.context)} tokens cannot be served"
        )
    weights = plan.footprint.assignment.bytes_by_format()
    without = missing(plan.gpu, weights, plan.footprint.kv_format.name, llama_cpp=True)
    return None if without is None else f"no engine runs it: {without}"


def remedy(found: tuple[Fix, ...]) -> str:
    """The fixes as a sentence."""
    if not found:
        return "No single change of format, GPU count or users makes it fit, nor half the context."
    if len(found) == 1:
        return f"One change fixes it: {found[0].sentence}."
    return f"Any one of these fixes it: {'; '.join(fix.sentence for fix in found)}."
