"""What a replica can promise: the highest rate that holds an SLO, and replicas for a rate.

A rate holds when the SLO's share of requests keeps it. The same requests in the same rhythm are
tried faster and slower, so that halving the interval compares like with like; other seeds give the
interval of confidence.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

from planner.errors import PlanRefused
from planner.serving.metrics import Slo
from planner.serving.replica import Replica
from planner.serving.report import refusals
from planner.serving.requests import Request
from planner.serving.simulator import MAX_REPLICAS, Result, Router, holds, simulate

Traffic = Callable[[float, int], Iterable[Request]]
"""The requests of a rate and a seed."""
LEAST_RATE, MOST_RATE = 1e-4, 1e5
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179,
           2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093)  # fmt: skip
"""97.5 % quantiles of Student's t for 1, 2 ... degrees of freedom."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its 95 % confidence interval; low and high are the mean for a single sample."""

    mean: float
    low: float
    high: float
    samples: int


def interval(values: Sequence[float]) -> Interval:
    """Student's t interval of independent samples."""
    n = len(values)
    mean = sum(values) / n
    if n == 1:
        return Interval(mean, mean, mean, 1)
    deviation = sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    t = STUDENT[n - 2] if n - 2 < len(STUDENT) else 1.96 + 2.5 / (n - 1)
    half = t * deviation / sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def highest_rate(
    replica: Replica,
    traffic: Traffic,
    slo: Slo,
    *,
    seed: int = 0,
    replicas: int = 1,
    router: Router = "least_requests",
    precision: float = 0.02,
) -> float:
    """Requests per second, to within `precision`, that these replicas serve within the SLO.

    0 where even LEAST_RATE does not hold: requests alone are too slow for it. Raises PlanRefused
    where too many requests are refused for any rate to hold.
    """

    def at(rate: float) -> bool:
        asked = list(traffic(rate, seed))
        fitting = sum(replica.fits(r.prompt_tokens, r.output_tokens) for r in asked)
        if fitting < slo.share * len(asked):
            _servable(simulate(asked, replica, replicas=replicas, router=router, slo=slo))
        return holds(asked, replica, slo, replicas=replicas, router=router)

    low, high = 0.0, 1.0 * replicas
    while at(high):
        low, high = high, 2 * high
        if high > MOST_RATE:
            return low
    while not low:
        if high < LEAST_RATE:
            return 0.0
        if at(high / 4):
            low = high / 4
        else:
            high /= 4
    while high / low > 1 + precision:
        middle = sqrt(low * high)
        low, high = (middle, high) if at(middle) else (low, middle)
    return low


def rate_interval(
    replica: Replica, traffic: Traffic, slo: Slo, seeds: Sequence[int], **settings: object
) -> Interval:
    """highest_rate over several seeds."""
    return interval(
        [highest_rate(replica, traffic, slo, seed=s, **settings) for s in seeds]  # type: ignore[arg-type]
    )


def replicas_for(
    replica: Replica,
    traffic: Traffic,
    rate: float,
    slo: Slo,
    *,
    seed: int = 0,
    router: Router = "least_requests",
) -> tuple[int, Result]:
    """The fewest replicas that hold the SLO at `rate`, and how they do.

    Raises PlanRefused where a request alone does not keep the SLO, or too many are refused, so that
    no number would.
    """

    def at(count: int) -> Result:
        return simulate(traffic(rate, seed), replica, replicas=count, router=router, slo=slo)

    high, found = 1, at(1)
    _servable(found)
    while not found.holds:
        if high >= 256 or high * 2 > MAX_REPLICAS:
            raise PlanRefused(
                f"not even {high} replicas hold this SLO at {rate:g} requests per second: a "
                "request alone is too slow for it"
            )
        high *= 2
        found = at(high)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        tried = at(middle)
        if tried.holds:
            high, found = middle, tried
        else:
            low = middle
    return high, found


def _servable(found: Result) -> None:
    """Raises PlanRefused where too many requests are refused, whatever the rate or replicas."""
    arrived = found.recorder.arrived_count
    if arrived - found.refused < found.recorder.slo.share * arrived:
        raise PlanRefused(f"no rate and no number of replicas holds this SLO: {refusals(found)}")
