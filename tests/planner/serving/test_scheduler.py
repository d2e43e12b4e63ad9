"""The scheduler: nothing is lost, runs equal single steps, and vLLM's rules one by one."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.serving import simulator
from planner.serving.job import Job
from planner.serving.metrics import Recorder
from planner.serving.requests import Request
from planner.serving.scheduler import Engine
from planner.serving.simulator import simulate
from tests.planner.serving.worlds import OneByOne, Plain, replica, traffic


class Watching(Recorder):
    """Checks what must hold in every step."""

    def spent(self, engine: Engine, seconds: float) -> None:
        pool = engine.pool
        assert pool.empty >= 0
        assert pool.kept >= 0
        assert pool.used + pool.kept + pool.empty == pool.total
        assert pool.kept == sum(pool.chains[key].blocks for key in pool.kept_chains)
        assert seconds > 0
        assert len(engine.running) + engine.padding <= engine.replica.max_num_seqs
        assert engine.growth.tokens >= engine.growth.count
        super().spent(engine, seconds)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    blocks=st.integers(70, 400),
    size=st.sampled_from([1, 8, 16, 64]),
    shared=st.sampled_from([0, 40, 300]),
    caching=st.booleans(),
    reserve=st.sampled_from(["paged", "longest", "power_of_two", "exact"]),
    batching=st.sampled_from(["continuous", "static"]),
    lookahead=st.sampled_from([0, 3]),
    drafts=st.sampled_from([(0, 1.0), (3, 2.53), (4, 5.0)]),
)
def test_blocks_tokens_and_requests_are_conserved(
    seed: int, blocks: int, size: int, shared: int, caching: bool, reserve: str, batching: str,
    lookahead: int, drafts: tuple[int, float],
) -> None:  # fmt: skip
    work = traffic(40, seed, shared=shared)
    one = replica(
        num_blocks=blocks * 16 // size, block_size=size, prefix_caching=caching, reserve=reserve,
        batching=batching, lookahead=lookahead, max_model_len=1200,
        draft_tokens=drafts[0], tokens_per_step=drafts[1],
    )  # fmt: skip
    sink = Watching()
    engine = Engine(one, sink)
    for request in work:
        engine.advance(request.arrival_s)
        engine.submit(request)
    engine.advance()
    served = [r for r in work if one.fits(r.prompt_tokens, r.output_tokens)]
    assert sink.arrived_count == len(work)
    assert sink.finished_count == len(served)
    assert sink.refused_count == len(work) - len(served)
    assert sink.output_tokens == sum(r.output_tokens for r in served)
    assert sink.prompt_tokens == sum(r.prompt_tokens for r in served)
    assert engine.pool.used == 0
    assert engine.pool.references == 0
    assert engine.growth.count == engine.growth.tokens == engine.prompt_tokens_stored == 0
    assert not caching or reserve != "paged" or sink.preemptions or engine.pool.kept >= 0


@pytest.mark.parametrize(
    ("blocks", "shared", "caching"),
    [(80, 0, False), (130, 0, False), (1000, 0, False), (1000, 0, True), (1000, 100, True)],
)
def test_runs_of_steps_equal_single_steps(
    monkeypatch: pytest.MonkeyPatch, blocks: int, shared: int, caching: bool
) -> None:
    one = replica(num_blocks=blocks, prefix_caching=caching)
    together = simulate(traffic(300, 7, shared=shared), one)
    monkeypatch.setattr(simulator, "Engine", OneByOne)
    alone = simulate(traffic(300, 7, shared=shared), one)
    assert together.steps == alone.steps
    assert together.recorder.preemptions == alone.recorder.preemptions
    assert (together.recorder.preemptions > 0) == (blocks < 1000)
    assert together.duration_s == pytest.approx(alone.duration_s, rel=1e-9)
    for name in ("ttft", "tpot", "e2e"):
        assert getattr(together, name).mean == pytest.approx(getattr(alone, name).mean, rel=1e-9)
    assert together.fragmentation == pytest.approx(alone.fragmentation, rel=0.05)


def test_a_prompt_is_computed_in_chunks_of_the_budget() -> None:
    one = replica(clock=Plain(1.0), max_num_batched_tokens=100)
    found = simulate([Request(0.0, 250, 3)], one)
    assert found.ttft.largest == 3
    assert found.e2e.largest == 5


def test_answers_go_before_chunks_in_the_budget() -> None:
    one = replica(clock=Plain(1.0), max_num_batched_tokens=100)
    found = simulate([Request(0.0, 100, 50), Request(0.0, 298, 1)], one)
    assert found.ttft.least == 1
    # 99 tokens a step are left beside the first request's answer: 4 steps after the first.
    assert found.ttft.largest == 5


def test_max_num_seqs_limits_the_batch() -> None:
    one = replica(clock=Plain(1.0), max_num_seqs=2)
    found = simulate([Request(0.0, 10, 10) for _ in range(6)], one)
    assert found.recorder.most_running == 2
    assert found.duration_s == 30


def test_the_request_that_started_last_is_preempted_and_computed_again() -> None:
    one = replica(clock=Plain(1.0), num_blocks=8, prefix_caching=False)
    order: list[int] = []
    found = simulate(
        [Request(0.0, 48, 33), Request(0.0, 47, 40)], one,
        each=lambda served: order.append(served.preemptions),
    )  # fmt: skip
    assert order == [0, 1]
    assert found.recorder.preemptions == 1
    assert found.recorder.computed_again_tokens == 47 + 17


def test_a_preempted_request_finds_its_blocks_with_prefix_caching() -> None:
    work = [Request(0.0, 48, 33), Request(0.0, 47, 40)]
    one = replica(clock=Plain(1.0), num_blocks=8)
    assert simulate(work, one).recorder.computed_again_tokens < 47 + 17


def test_lookahead_slots_take_blocks() -> None:
    plain = replica(clock=Plain(1.0), num_blocks=100)
    work = [Request(0.0, 15, 2) for _ in range(4)]
    assert simulate(work, plain).recorder.most_used_blocks == 4
    assert simulate(work, plain.changed(lookahead=5)).recorder.most_used_blocks == 8


def test_requests_of_one_step_share_what_it_computes() -> None:
    work = [Request(0.0, 200, 2, shared_tokens=160) for _ in range(3)]
    found = simulate(work, replica(max_num_batched_tokens=1024))
    assert found.recorder.found_tokens == 2 * 160
    assert found.recorder.most_used_blocks == 10 + 3 * 3


def test_static_batches_start_when_all_are_done() -> None:
    work = [Request(0.0, 10, 5), Request(0.0, 10, 50), Request(1.5, 10, 5)]
    static = simulate(work, replica(clock=Plain(1.0), batching="static"))
    assert static.e2e.largest == pytest.approx(55 - 1.5)
    assert static.mean_running < 2
    continuous = simulate(work, replica(clock=Plain(1.0)))
    assert continuous.duration_s == 50


def test_least_requests_and_round_robin_spread_the_load() -> None:
    work = [Request(0.0, 10, 10) for _ in range(8)]
    for router in simulator.ROUTERS:
        found = simulate(work, replica(clock=Plain(1.0), max_num_seqs=4), replicas=2, router=router)
        assert found.duration_s == 10


def test_turns_follow_their_answers() -> None:
    def after(request: Request, end: float) -> Request | None:
        if request.turn == 2:
            return None
        prompt = request.tokens + 20
        return Request(end + 1, prompt, 10, session=request.session, turn=request.turn + 1)

    starts: list[float] = []
    work = [Request(0.0, 100, 10, session=s) for s in range(3)]
    found = simulate(work, replica(), after=after, each=lambda s: starts.append(s.arrival_s))
    assert found.finished == 9
    # Stored after a turn: prompt + 10 - 1; in whole blocks of 16: 109 -> 96, 139 -> 128.
    assert found.recorder.found_tokens == 3 * (96 + 128)
    assert all(b >= a for a, b in pairwise(sorted(starts)))


def test_what_can_never_be_served_is_refused() -> None:
    found = simulate([Request(0.0, 3000, 1), Request(0.0, 10, 1)], replica())
    assert (found.refused, found.finished) == (1, 1)
    assert found.attained == 0.5


def test_a_job_counts_its_table() -> None:
    job = Job(Request(0.0, 5, 1), 1)
    assert job.blocks == 0
