"""One replica under vLLM's scheduling rules, from one event to the next.

First come, first served. Every step, running requests come first: one token for each answer, the
next chunk for each unfinished prompt, out of a budget of batched tokens. Where blocks run out the
request that started last is preempted and computed again later. Then waiting requests start while
there is budget, a free place and blocks for their first chunk. Steps in which nothing of that
changes are taken together.

Where tokens are drafted a step yields several of every answer: over runs of steps their mean, in a
step with prompts whole ones, so that what is left over counts in the next. Source: vLLM
v1/core/sched/scheduler.
"""

from collections import deque
from heapq import heappop, heappush
from math import inf
from typing import Protocol

from planner.serving.batch import Batch
from planner.serving.job import Job
from planner.serving.replica import Replica
from planner.serving.requests import Request
from planner.serving.runs import steps_within


class Sink(Protocol):
    """Who is told what happens in a replica. decided: nothing more need happen."""

    decided: bool

    def arrived(self, engine: "Engine", request: Request) -> None: ...

    def spent(self, engine: "Engine", seconds: float) -> None:
        """`seconds` pass from engine.now in its present state."""
        ...

    def started(self, engine: "Engine", job: Job, found_tokens: int) -> None: ...

    def preempted(self, engine: "Engine") -> None: ...

    def finished(self, engine: "Engine", job: Job) -> None: ...

    def refused(self, engine: "Engine", request: Request) -> None: ...


class Engine(Batch):
    """The replica at work. submit() requests in order of arrival, advance() to the next one's.

    mean_used_blocks, mean_stored_tokens: over the steps being taken, with what they write.
    """

    def __init__(self, replica: Replica, sink: Sink) -> None:
        super().__init__(replica)
        self.sink = sink
        self.now = 0.0
        self.waiting: deque[Job] = deque()
        self.finishing: list[tuple[int, int, Job]] = []
        self.steps = 0.0
        self.mean_used_blocks = 0.0
        self.mean_stored_tokens = 0.0
        self._number = 0
        self._due = 0.0
        self._preempted_now = False

    @property
    def load(self) -> int:
        """Requests here, waiting or running."""
        return len(self.waiting) + len(self.running)

    def submit(self, request: Request) -> None:
        """A request arrives. One that could never be served is refused."""
        if not self.replica.fits(request.prompt_tokens, request.output_tokens):
            self.sink.refused(self, request)
            return
        if self.now < request.arrival_s and not self.load:
            self.now = request.arrival_s
        self._number += 1
        self.waiting.append(Job(request, self._number))
        self.sink.arrived(self, request)

    def advance(self, until: float = inf) -> None:
        """Take steps until one ends at `until` or later, or nothing is left to do or to learn."""
        while self.load and self.now < until and not self.sink.decided:
            self.step(until)
        if self._static and not self.running:
            self._open_batch()

    def step(self, until: float = inf) -> None:
        """One step, or as many equal ones as fit before the next event."""
        replica = self.replica
        self._yield = int(self._due + replica.tokens_per_step)
        self._make_room()
        chunks = self._next_chunks()
        if self._static and not self.running:
            self._open_batch()
        if not self._preempted_now or not self.running:
            self._start_waiting(chunks)
        growth = self.growth
        rows = growth.count + self.padding
        context = growth.tokens / growth.count + 1 if growth.count else 0.0
        if chunks:
            steps = self._yield
            self._due += replica.tokens_per_step - steps
            reach = [(tokens, job.computed + tokens) for job, tokens in chunks]
            seconds = replica.clock.mixed_s(rows, context, reach)
        else:
            again = self.now if self._preempted_now and self.waiting else until
            steps, seconds = self._run(rows, context, again)
        self.mean_used_blocks = float(self.pool.used)
        if self._paged and growth.count:
            taken = growth.blocks(steps)
            self.pool.take(taken)
            self.mean_used_blocks += (taken + (taken if chunks else growth.blocks(1))) / 2
        self.mean_stored_tokens = self.stored_tokens + growth.count * (steps + 1) / 2
        self.mean_stored_tokens += sum(tokens for _, tokens in chunks)
        self.steps += 1 if chunks else steps / replica.tokens_per_step
        self.sink.spent(self, seconds)
        self.now += seconds
        growth.advance(steps)
        self._end(chunks)

    def _run(self, rows: int, context: float, until: float) -> tuple[int, float]:
        """How many tokens of every answer in a row, and their time, which grows evenly.

        A waiting request whose kept blocks are taken during the run is looked at again after it.
        """
        growth = self.growth
        while self.finishing[0][2].finish_at != self.finishing[0][0]:
            heappop(self.finishing)
        most = self.finishing[0][0] - growth.steps
        if self._paged:
            most = growth.most_steps(self.pool.free, most)
        clock, each = self.replica.clock, self.replica.tokens_per_step
        first = clock.decode_s(rows, context) / each
        if most == 1:
            return 1, first
        last = clock.decode_s(rows, context + most - 1) / each
        return steps_within(until - self.now, first, last, most)

    def _make_room(self) -> None:
        """Preempt until every answer can take its next tokens."""
        self._preempted_now = False
        while self._paged and self.growth.count and self._next_blocks > self.pool.free:
            self._preempt()

    def _preempt(self) -> None:
        job = self._drop_last()
        self._preempted_now = True
        self.waiting.appendleft(job)
        self.sink.preempted(self)

    def _next_chunks(self) -> list[tuple[Job, int]]:
        """The next chunk of every prompt that has started."""
        found: list[tuple[Job, int]] = []
        budget = self._budget
        for number, job in list(self.computing.items()):
            tokens = min(job.target - job.computed, budget)
            if tokens <= 0 or number not in self.running:
                continue
            while self._paged and self._more(job, tokens) > self._spare():
                self._preempt()
                if number not in self.running:
                    break
            else:
                if self._paged:
                    self._take(job, self._more(job, tokens))
                found.append((job, tokens))
                budget -= tokens
        return [(job, tokens) for job, tokens in found if job.number in self.running]

    def _start_waiting(self, chunks: list[tuple[Job, int]]) -> None:
        replica, pool, waiting = self.replica, self.pool, self.waiting
        if not waiting or (self._static and self.running and not self.batch_open):
            return
        budget = self._budget - sum(tokens for _, tokens in chunks)
        while waiting and budget > 0 and len(self.running) + self.padding < replica.max_num_seqs:
            job = waiting[0]
            shared = own = revived = 0
            if replica.prefix_caching:
                shared, own, revived = job.look_up(pool, replica.block_size)
            found = (shared + own) * replica.block_size
            tokens = min(job.target - found, budget)
            if self._paged:
                new = replica.blocks(found + tokens) - shared - own
            else:
                new = replica.most_blocks(job.request.tokens)
            if new > self._spare() - revived:
                if self.running or not pool.kept_chains:
                    break
                pool.forget()
                continue
            waiting.popleft()
            self._enter(job, new, shared, own)
            chunks.append((job, tokens))
            budget -= tokens
            self.sink.started(self, job, found)
            if replica.prefix_caching:
                self._fill_early(job, tokens)
        if self._static:
            self.batch_open = bool(waiting) and budget <= 0

    def _end(self, chunks: list[tuple[Job, int]]) -> None:
        """Prompts that are done give their first token; answers that are done leave."""
        for job, tokens in chunks:
            job.computed += tokens
            self.prompt_tokens_stored += tokens
            if job.group is not None:
                job.fill(self.replica.block_size)
            if job.computed == job.target:
                self._answer(job)
        growth, finishing = self.growth, self.finishing
        while finishing and finishing[0][0] <= growth.steps:
            at, _, job = heappop(finishing)
            if job.finish_at == at:
                self._finish(job, growth.remove(job))
                job.finish_at = -1

    def _answer(self, job: Job) -> None:
        del self.computing[job.number]
        self.prompt_tokens_stored -= job.computed
        if job.first_s < 0:
            job.first_s = self.now
        job.generated += 1
        left = job.request.output_tokens - job.generated
        if not left:
            self._finish(job, job.computed)
            return
        self.growth.add(job)
        job.finish_at = self.growth.steps + left
        heappush(self.finishing, (job.finish_at, job.number, job))

    def _finish(self, job: Job, stored: int) -> None:
        del self.running[job.number]
        job.generated = job.request.output_tokens
        if job.finish_at >= 0:
            self._settle(job, stored)
        if self._static:
            self._hold(job, stored)
        else:
            self._release(job, stored)
        self.sink.finished(self, job)
