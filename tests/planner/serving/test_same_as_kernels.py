"""Block counts equal those of the PagedKVCache that the kernels read, on the same trace."""

import random

import pytest

from planner.serving.job import Job
from planner.serving.metrics import Recorder
from planner.serving.replica import Replica
from planner.serving.requests import Request
from planner.serving.scheduler import Engine
from tests.planner.serving.worlds import OneByOne, replica

torch = pytest.importorskip("torch")


class Mirror(Recorder):
    """Does to a real cache what the scheduler says it did, and compares after every step."""

    def __init__(self, one: Replica) -> None:
        super().__init__()
        from kernels.kv_cache import PagedKVCache

        self.cache = PagedKVCache(
            num_blocks=one.num_blocks, block_size=one.block_size, kv_heads=1, head_dim=16,
            device="cpu",
        )  # fmt: skip
        self.lengths: dict[int, int] = {}
        self.compared = 0

    def tokens(self, job: Job, start: int, stop: int) -> list[int]:
        """Ids: common ones for the group's beginning, then the session's or the request's own."""
        request = job.request
        mine = 10**6 * (1 + job.number if request.session is None else 5000 + request.session)
        return [i if i < request.shared_tokens else mine + i for i in range(start, stop)]

    def spent(self, engine: Engine, seconds: float) -> None:
        growth = engine.growth
        for number, job in engine.running.items():
            if number not in self.lengths:
                found = self.cache.add(number, self.tokens(job, 0, job.target))
                assert found == job.computed
                self.cache.append(number, self.tokens(job, found, job.target))
                self.lengths[number] = job.target
        for number, job in engine.running.items():
            if number not in engine.computing:
                stored = job.computed + growth.steps - job.joined_at + 1
                self.cache.append(number, self.tokens(job, stored - 1, stored))
        usage, pool = self.cache.usage(), engine.pool
        assert (usage.used, usage.kept, usage.references) == (pool.used, pool.kept, pool.references)
        self.compared += 1
        super().spent(engine, seconds)

    def preempted(self, engine: Engine) -> None:
        self._free(engine.waiting[0].number)
        super().preempted(engine)

    def finished(self, engine: Engine, job: Job) -> None:
        self._free(job.number)
        super().finished(engine, job)

    def _free(self, number: int) -> None:
        self.cache.free(number)
        del self.lengths[number]


@pytest.mark.parametrize("blocks", [60, 90, 400])
@pytest.mark.parametrize("block_size", [16, 32])
@pytest.mark.parametrize("shared", [0, 96])
def test_block_counts_are_the_allocators(blocks: int, block_size: int, shared: int) -> None:
    one = replica(
        num_blocks=blocks * 16 // block_size, block_size=block_size, max_num_batched_tokens=2**20
    )
    sink = Mirror(one)
    engine = OneByOne(one, sink)
    rng = random.Random(5)
    now = 0.0
    for _ in range(80):
        now += rng.expovariate(6)
        engine.advance(now)
        request = Request(now, rng.randint(shared + 1, 400), rng.randint(1, 120), shared)
        engine.submit(request)
    engine.advance()
    assert sink.finished_count == 80
    assert sink.compared > 500
    assert (sink.preemptions > 0) == (blocks < 400)
    assert (sink.found_tokens > 0) == bool(shared)


def test_turns_of_a_session_find_the_allocators_blocks() -> None:
    one = replica(num_blocks=120, max_num_batched_tokens=2**20)
    sink = Mirror(one)
    engine = OneByOne(one, sink)
    lengths = dict.fromkeys(range(6), 0)
    rng = random.Random(2)
    for _ in range(60):
        session = rng.choice(list(lengths))
        prompt = 64 + lengths[session] + rng.randint(1, 60)
        if prompt > 700:
            del lengths[session]
            lengths[max([*lengths, session]) + 1] = 0
            continue
        output = rng.randint(1, 40)
        engine.submit(Request(engine.now, prompt, output, shared_tokens=64, session=session))
        lengths[session] = prompt - 64 + output
        engine.advance()
    assert sink.found_tokens > 0.4 * sink.prompt_tokens
