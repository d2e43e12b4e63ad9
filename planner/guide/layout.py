"""How as many GPUs are best spread, and whether prompts need some of their own."""

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.guide.case import WORTH, Case, Decision, held, worth
from planner.timing.disaggregation import disaggregate
from planner.timing.latency import Latency
from planner.units import counted, format_bytes


def layout(case: Case) -> Decision:
    """The layout of as many GPUs that serves most requests, with the users its memory holds."""
    gpus = case.deployment.gpus
    tries: dict[str, Latency] = {}
    for stages in (n for n in range(1, gpus + 1) if gpus % n == 0):
        for replicas in (n for n in range(1, gpus // stages + 1) if gpus // stages % n == 0):
            changed = case.deployment.replace(
                tensor_parallel_size=gpus // stages // replicas,
                pipeline_parallel_size=stages,
                data_parallel_size=replicas,
                decode_context_parallel_size=1,
                context_parallel_size=1,
            )
            found = case.tried(changed)
            users = 0 if found is None else min(case.asked, held(found[1], case.asked))
            if users:
                tries[_layout(changed)] = case.latency(changed, users)
    if gpus == 1:
        return Decision("layout", "one GPU", "one GPU leaves nothing to choose", 1.0)
    if not tries:
        return Decision("layout", "none", f"no layout of {gpus} GPUs holds this load", 0.0)
    name = max(tries, key=lambda key: tries[key].requests_per_s)
    best, mine = tries[name].requests_per_s, case.now.requests_per_s
    links = f"links take {100 * tries[name].tpot.shares['links']:.0f} % of a step"
    if tries[name].users < case.asked:
        links += f", with {counted(tries[name].users, 'user')} at once"
    if name == _layout(case.deployment):
        others = [found.requests_per_s for key, found in tries.items() if key != name]
        next_best = (
            f"the next best layout serves {100 * (1 - max(others) / best):.1f} % less"
            if others
            else "no other layout holds this load"
        )
        why = f"{best:.3g} requests a second, {links}; {next_best}"
        return Decision("layout", f"{name}, as it is", why, 1.0)
    ratio = best / mine
    taken = ratio > WORTH or not case.plan(case.deployment).fits
    return Decision(
        "layout",
        name if taken else "as it is",
        f"{'it' if taken else name} serves {best:.3g} requests a second against {mine:.3g} as "
        f"it is, {links}{'' if taken else worth(ratio)}",
        ratio,
    )


def separation(case: Case) -> Decision:
    """Prefill and decode apart where prompts slow answers down by half or more."""
    ratio = float(case.now.load.tpot_s) / case.now.tpot.seconds
    if case.users == 1:
        return Decision(
            "prefill and decode", "together", "one user has no prompts of others to wait for", ratio
        )
    because = (
        f"prompts of others stretch a token from {1e3 * case.now.tpot.seconds:.1f} ms to "
        f"{1e3 * float(case.now.load.tpot_s):.1f} ms"
    )
    one = case.deployment.replace(data_parallel_size=1)
    try:
        found = disaggregate(case.model, case.gpu, one, one, case.speed, case.request, case.users)
    except PlanRefused:
        return Decision("prefill and decode", "together", because, ratio)
    because += (
        f"; apart, with {counted(found.prefill_replicas, 'replica')} for prompts and "
        f"{found.decode_replicas:,} for answers, it would take {1e3 * found.tpot_s:.1f} ms on "
        f"{counted(found.gpus, 'GPU')} instead of {case.deployment.gpus}, and send "
        f"{format_bytes(found.transfer_bytes)} a prompt"
    )
    return Decision("prefill and decode", "apart" if ratio > 1.5 else "together", because, ratio)


def _layout(deployment: Deployment) -> str:
    parts = [
        f"tensor parallel {deployment.tensor_parallel_size}",
        counted(deployment.pipeline_parallel_size, "stage"),
        counted(deployment.data_parallel_size, "replica"),
    ]
    return ", ".join(parts)
