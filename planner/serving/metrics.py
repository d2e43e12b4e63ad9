"""What a simulation measures, in memory that does not grow with the number of requests."""

from collections.abc import Callable
from dataclasses import dataclass, field

from planner.serving.histogram import Histogram
from planner.serving.job import Job
from planner.serving.requests import Request
from planner.serving.scheduler import Engine
from planner.serving.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Slo:
    """What a request must keep to count; `share` of all must, for a rate to hold. TPOT is that of
    the request: its time after the first token over the tokens after the first."""

    ttft_s: float = 2.0
    tpot_s: float = 0.05
    share: float = 0.95

    def kept(self, ttft_s: float, tpot_s: float) -> bool:
        return ttft_s <= self.ttft_s and tpot_s <= self.tpot_s


def times(job: Job, now: float) -> tuple[float, float]:
    """TTFT and TPOT of a request whose last token comes now."""
    request = job.request
    after = request.output_tokens - 1
    return job.first_s - request.arrival_s, (now - job.first_s) / after if after else 0.0


@dataclass(frozen=True, slots=True)
class Served:
    """One finished request."""

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    tpot_s: float
    e2e_s: float
    preemptions: int


@dataclass
class Tally:
    """The Sink that stops once it is decided whether `count` requests hold the SLO."""

    slo: Slo
    count: int
    within_slo: int = 0
    missed: int = 0
    decided: bool = False

    @property
    def holds(self) -> bool:
        return self.within_slo / max(1, self.count) >= self.slo.share

    def arrived(self, engine: Engine, request: Request) -> None: ...

    def refused(self, engine: Engine, request: Request) -> None:
        self._count(kept=False)

    def spent(self, engine: Engine, seconds: float) -> None: ...

    def started(self, engine: Engine, job: Job, found_tokens: int) -> None: ...

    def preempted(self, engine: Engine) -> None: ...

    def finished(self, engine: Engine, job: Job) -> None:
        self._count(kept=self.slo.kept(*times(job, engine.now)))

    def _count(self, *, kept: bool) -> None:
        self.within_slo += kept
        self.missed += not kept
        lost = (self.count - self.missed) / self.count < self.slo.share
        self.decided = lost or self.holds


@dataclass
class Recorder:
    """The Sink that keeps counts, percentiles and the timeline of one simulation.

    within_ttft, within_tpot: that kept one of the two limits, whatever the other. wait_s and
    work_s: integrals of the queue and of running requests over time. too_long_count:
    of those refused, the ones beyond max_model_len; the others need more than the pool has.
    """

    slo: Slo = field(default_factory=Slo)
    each: Callable[[Served], None] | None = None
    after: Callable[[Request, float], Request | None] | None = None
    follow: Callable[[Request], None] | None = None
    decided: bool = False
    ttft: Histogram = field(default_factory=Histogram)
    tpot: Histogram = field(default_factory=Histogram)
    e2e: Histogram = field(default_factory=Histogram)
    timeline: Timeline = field(default_factory=Timeline)
    arrived_count: int = 0
    finished_count: int = 0
    refused_count: int = 0
    too_long_count: int = 0
    within_slo: int = 0
    within_ttft: int = 0
    within_tpot: int = 0
    preemptions: int = 0
    prompt_tokens: int = 0
    found_tokens: int = 0
    output_tokens: int = 0
    computed_again_tokens: int = 0
    wait_s: float = 0.0
    work_s: float = 0.0
    busy_s: float = 0.0
    used_block_s: float = 0.0
    unused_slot_s: float = 0.0
    most_running: int = 0
    most_used_blocks: int = 0
    first_s: float = -1.0
    last_s: float = 0.0

    def arrived(self, engine: Engine, request: Request) -> None:
        self.arrived_count += 1
        if self.first_s < 0:
            self.first_s = request.arrival_s
        self.timeline.note("arrivals", request.arrival_s)
        self.wait_s += max(0.0, engine.now - request.arrival_s)

    def refused(self, engine: Engine, request: Request) -> None:
        self.arrived_count += 1
        self.refused_count += 1
        tokens = request.prompt_tokens + request.output_tokens
        self.too_long_count += tokens > engine.replica.max_model_len

    def spent(self, engine: Engine, seconds: float) -> None:
        running, queue, pool = len(engine.running), len(engine.waiting), engine.pool
        used = engine.mean_used_blocks
        size = engine.replica.block_size
        stored = engine.mean_stored_tokens - (pool.references - pool.used) * size
        fixed = engine.replica.fixed_blocks * running * size
        self.wait_s += queue * seconds
        self.work_s += running * seconds
        self.busy_s += seconds
        self.used_block_s += used * seconds
        self.unused_slot_s += max(0.0, used * size - stored - fixed) * seconds
        if running > self.most_running:
            self.most_running = running
        if pool.used > self.most_used_blocks:
            self.most_used_blocks = pool.used
        self.timeline.spend(engine.now, seconds, (queue, running, used, pool.kept, stored + fixed))

    def started(self, engine: Engine, job: Job, found_tokens: int) -> None:
        if job.preemptions:
            self.computed_again_tokens += job.target - found_tokens
            return
        self.prompt_tokens += job.target
        self.found_tokens += found_tokens
        self.timeline.note("prompt_tokens", engine.now, job.target)
        if found_tokens:
            self.timeline.note("found_tokens", engine.now, found_tokens)

    def preempted(self, engine: Engine) -> None:
        self.preemptions += 1
        self.timeline.note("preemptions", engine.now)

    def finished(self, engine: Engine, job: Job) -> None:
        request, now = job.request, engine.now
        output = request.output_tokens
        ttft, tpot = times(job, now)
        self.ttft.add(ttft)
        self.e2e.add(now - request.arrival_s)
        if output > 1:
            self.tpot.add(tpot)
        self.finished_count += 1
        self.output_tokens += output
        self.within_slo += self.slo.kept(ttft, tpot)
        self.within_ttft += ttft <= self.slo.ttft_s
        self.within_tpot += tpot <= self.slo.tpot_s
        self.last_s = max(self.last_s, now)
        self.timeline.note("finished", now)
        self.timeline.note("output_tokens", now, output)
        if self.each is not None:
            self.each(
                Served(request.arrival_s, request.prompt_tokens, output, ttft, tpot,
                       now - request.arrival_s, job.preemptions)
            )  # fmt: skip
        if self.after is not None and self.follow is not None:
            next_one = self.after(request, now)
            if next_one is not None:
                self.follow(next_one)
