"""Users at once against what memory holds: how many run, and how long the others wait.

found = queued(model, gpu, deployment, speed, request, users=1000)
found.plan.fits, found.at_once, found.wait_s
"""

from dataclasses import dataclass

from planner.deployment import Deployment
from planner.hardware import Gpu
from planner.model import Model
from planner.plan import Plan, make_plan
from planner.positions import reachable
from planner.timing.latency import Latency, Request, latency
from planner.timing.speed import Speed
from planner.units import counted
from planner.verdict import verdict
from planner.workload import Workload


@dataclass(frozen=True, slots=True)
class Queued:
    """at_once of the users run and wait_s passes before another's prompt starts.

    now: the times of those at once. Where not even one fits (at_once 0), the times of all users as
    if memory held them, and wait_s is None. note: a context beyond the model's stated positions.
    """

    plan: Plan
    now: Latency
    at_once: int
    wait_s: float | None
    note: str | None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to know before the times; none where all fits."""
        found = () if self.note is None else (self.note,)
        if self.plan.fits:
            return found
        users = self.plan.workload.concurrency
        if not self.at_once:
            times = "The times below are as if it did fit."
        else:
            times = (
                f"Memory holds {counted(self.at_once, 'sequence')} at once: the times below are "
                f"theirs, and the other {users - self.at_once:,} wait {self.wait_s:,.1f} s on "
                "average before their prompt starts."
            )
        return (*found, verdict(self.plan), times)


def queued(
    model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, request: Request, users: int
) -> Queued:
    """The plan of `users` users and the times of as many of them as memory holds at once.

    Waiting is Little's law: users who send again as soon as they are answered spend
    users / requests_per_s on each request, of which at_once / requests_per_s is service. Raises
    PlanRefused where a table of positions ends before the request does.
    """
    note = reachable(model, request.context)
    plan = make_plan(model, gpu, deployment, Workload(context=request.context, concurrency=users))
    at_once = users if plan.fits else min(users, plan.max_concurrency or 0)
    now = latency(model, gpu, deployment, speed, request, at_once or users)
    wait_s = (users - at_once) / now.requests_per_s if at_once else None
    return Queued(plan, now, at_once, wait_s, note)
