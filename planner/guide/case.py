"""What every question of the guide is asked of: a deployment, its times, and what changes give."""

from dataclasses import dataclass
from functools import cached_property

from planner.deployment import Deployment
from planner.errors import SizewellError
from planner.formats.format_support import missing
from planner.hardware import Gpu
from planner.model import Model
from planner.plan import Plan, make_plan
from planner.timing.latency import Latency, Request, latency
from planner.timing.speed import Speed
from planner.workload import Workload

LOSSY = "if you may lose precision"
"""Beside every format that rounds what the model was published in."""
WORTH = 1.1
"""A choice that gains less than a tenth is not worth its trouble."""


@dataclass(frozen=True, slots=True)
class Decision:
    """topic and choice are names; figure is the number that decided, in the unit of `because`."""

    topic: str
    choice: str
    because: str
    figure: float


@dataclass(frozen=True)
class Case:
    """One deployment at a load. now: its times as it is.

    users: those at once, whose times they are; asked: with those who wait for memory.
    """

    model: Model
    gpu: Gpu
    deployment: Deployment
    speed: Speed
    request: Request
    users: int
    asked: int

    @cached_property
    def now(self) -> Latency:
        return self.latency(self.deployment)

    def latency(self, deployment: Deployment, users: int | None = None) -> Latency:
        """The times of another deployment at the same load, or of `users` at once."""
        users = self.users if users is None else users
        return latency(self.model, self.gpu, deployment, self.speed, self.request, users)

    def plan(self, deployment: Deployment) -> Plan:
        """The memory of another deployment at the same load."""
        work = Workload(context=self.request.context, concurrency=self.users)
        return make_plan(self.model, self.gpu, deployment, work)

    def tried(self, deployment: Deployment) -> tuple[Latency, Plan] | None:
        """Its times and plan; None where shapes, formats or the card's kernels forbid it."""
        try:
            plan = self.plan(deployment)
            formats = plan.footprint.assignment.bytes_by_format()
            if missing(self.gpu, formats, plan.footprint.kv_format.name) is not None:
                return None
            return self.latency(deployment), plan
        except SizewellError:
            return None


def held(plan: Plan, users: int) -> int:
    """Users that memory holds; `users` where it sets no limit."""
    return users if plan.max_concurrency is None else plan.max_concurrency


def instead_of(seconds: float, now_s: float) -> str:
    """'4.3 ms instead of 10.0 ms', or '10.0 ms as before' where both print alike."""
    found, now = (f"{1e3 * each:.1f} ms" for each in (seconds, now_s))
    return f"{found} as before" if found == now else f"{found} instead of {now}"


def worth(ratio: float) -> str:
    """Why a choice that gains something is not taken; nothing where it is."""
    return "" if ratio > WORTH else ": less than a tenth is not worth it"
