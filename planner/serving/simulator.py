"""A traffic on n replicas behind a router.

found = simulate(requests, replica, replicas=2, router="least_requests", slo=Slo())
found.ttft.quantile(0.95), found.goodput_per_s, found.timeline
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from typing import Literal

from planner.errors import PlanRefused
from planner.serving.histogram import Histogram
from planner.serving.metrics import Recorder, Served, Slo, Tally
from planner.serving.replica import Replica
from planner.serving.requests import Request
from planner.serving.scheduler import Engine, Sink

Router = Literal["round_robin", "least_requests", "session"]
ROUTERS: tuple[Router, ...] = ("least_requests", "round_robin", "session")
MAX_REPLICAS = 4096


@dataclass(frozen=True)
class Result:
    """A finished simulation. duration_s: from the first arrival to the last answer's end."""

    replica: Replica
    replicas: int
    recorder: Recorder
    steps: int

    @property
    def ttft(self) -> Histogram:
        return self.recorder.ttft

    @property
    def tpot(self) -> Histogram:
        return self.recorder.tpot

    @property
    def e2e(self) -> Histogram:
        return self.recorder.e2e

    @property
    def duration_s(self) -> float:
        return max(1e-12, self.recorder.last_s - max(0.0, self.recorder.first_s))

    @property
    def finished(self) -> int:
        return self.recorder.finished_count

    @property
    def refused(self) -> int:
        return self.recorder.refused_count

    @property
    def attained(self) -> float:
        """Share of all requests, refused ones included, that kept the SLO."""
        return self.recorder.within_slo / max(1, self.recorder.arrived_count)

    @property
    def holds(self) -> bool:
        return self.attained >= self.recorder.slo.share

    @property
    def requests_per_s(self) -> float:
        return self.finished / self.duration_s

    @property
    def goodput_per_s(self) -> float:
        """Requests per second that kept the SLO."""
        return self.recorder.within_slo / self.duration_s

    @property
    def output_tokens_per_s(self) -> float:
        return self.recorder.output_tokens / self.duration_s

    @property
    def mean_queue(self) -> float:
        return self.recorder.wait_s / self.duration_s

    @property
    def mean_running(self) -> float:
        return self.recorder.work_s / self.duration_s

    @property
    def running_while_busy(self) -> float:
        """Requests of one replica at once, averaged over the time in which it works."""
        return self.recorder.work_s / max(1e-12, self.recorder.busy_s)

    @property
    def block_use(self) -> float:
        """Share of the pool in use, over time."""
        whole = self.replica.num_blocks * self.replicas * self.duration_s
        return self.recorder.used_block_s / whole

    @property
    def fragmentation(self) -> float:
        """Share of the slots in used blocks that hold no token."""
        slots = self.recorder.used_block_s * self.replica.block_size
        return self.recorder.unused_slot_s / slots if slots else 0.0

    def timeline_rows(self) -> list[dict[str, float]]:
        """The course of it, as timeline.Timeline.rows."""
        return self.recorder.timeline.rows(self.recorder.last_s)

    @property
    def found_share(self) -> float:
        """Share of prompt tokens found in the prefix cache."""
        return self.recorder.found_tokens / max(1, self.recorder.prompt_tokens)


def simulate(
    requests: Iterable[Request],
    replica: Replica,
    *,
    replicas: int = 1,
    router: Router = "least_requests",
    slo: Slo | None = None,
    each: Callable[[Served], None] | None = None,
    after: Callable[[Request, float], Request | None] | None = None,
) -> Result:
    """Serve all requests, given in order of arrival, to the end.

    each: called with every finished request. after: the request that follows a finished one, such
    as the next turn of a conversation, or None; it must not arrive before that end.
    """
    recorder = Recorder(slo or Slo(), each, after)
    later: list[tuple[float, int, Request]] = []
    if after is not None:
        recorder.follow = lambda r: heappush(later, (r.arrival_s, id(r), r))
    engines = _serve(
        requests, replica, recorder, replicas, router, None if after is None else later
    )
    return Result(replica, replicas, recorder, round(sum(engine.steps for engine in engines)))


def holds(
    requests: Sequence[Request],
    replica: Replica,
    slo: Slo,
    *,
    replicas: int = 1,
    router: Router = "least_requests",
) -> bool:
    """simulate(...).holds and nothing else: it stops when that is decided."""
    tally = Tally(slo, len(requests))
    _serve(requests, replica, tally, replicas, router)
    return tally.holds


def _serve(
    requests: Iterable[Request],
    replica: Replica,
    sink: Sink,
    replicas: int,
    router: Router,
    later: list[tuple[float, int, Request]] | None = None,
) -> list[Engine]:
    """The replicas, when all requests are served. later: a heap of those that follow others."""
    if not 1 <= replicas <= MAX_REPLICAS:
        raise PlanRefused(f"replicas {replicas} must be between 1 and {MAX_REPLICAS:,}")
    engines = [Engine(replica, sink) for _ in range(replicas)]
    choose = _router(router, engines)
    source: Iterator[Request] = iter(requests)
    coming = next(source, None)
    while not sink.decided:
        when = inf if coming is None else coming.arrival_s
        when = min(when, later[0][0]) if later else when
        if later is None:
            for engine in engines:
                engine.advance(when)
        elif any(e.load and e.now < when for e in engines):
            behind = min((e for e in engines if e.load), key=lambda e: e.now)
            behind.step(when)
            continue
        if when == inf:
            break
        if later and later[0][0] <= when:
            request = heappop(later)[2]
        else:
            assert coming is not None
            request, coming = coming, next(source, None)
            if coming is not None and coming.arrival_s < request.arrival_s:
                raise PlanRefused("requests must be given in order of arrival")
        choose(request).submit(request)
    return engines


def _router(name: Router, engines: list[Engine]) -> Callable[[Request], Engine]:
    if len(engines) == 1:
        return lambda _: engines[0]
    turn = 0

    def round_robin(_: Request) -> Engine:
        nonlocal turn
        turn += 1
        return engines[(turn - 1) % len(engines)]

    def least_requests(_: Request) -> Engine:
        return min(engines, key=lambda engine: engine.load)

    def session(request: Request) -> Engine:
        if request.session is None:
            return least_requests(request)
        return engines[request.session % len(engines)]

    found = {"round_robin": round_robin, "least_requests": least_requests, "session": session}
    if name not in found:
        raise PlanRefused(f"router {name!r} is not one of {', '.join(found)}")
    return found[name]
