"""Rates that hold, replicas for a rate, and the claims tried, against figures got another way."""

import random

import pytest

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.serving import claims, experiments
from planner.serving.beams import beam_search
from planner.serving.chats import FirstFit, contiguous, paged
from planner.serving.metrics import Slo
from planner.serving.objective import interval, rate_interval, replicas_for
from planner.serving.requests import always, synthetic
from planner.serving.sensitivity import as_text, sensitivity
from tests.planner.serving.worlds import Plain, geometric, replica


def traffic(rate, seed):  # type: ignore[no-untyped-def]
    return synthetic(rate=rate, count=4000, prompt=always(8), output=always(1), seed=seed)


def test_the_highest_rate_is_that_of_m_d_1() -> None:
    one = replica(clock=Plain(1.0), max_num_seqs=1, num_blocks=10)
    # P(no wait) = 1 - busy: nine in ten start at once at a rate of 0.1.
    slo = Slo(ttft_s=1.000001, tpot_s=1.0, share=0.9)
    found = rate_interval(one, traffic, slo, range(5))
    assert found.mean == pytest.approx(0.1, rel=0.1)
    assert found.low < found.mean < found.high


def test_replicas_are_the_fewest_that_hold() -> None:
    one = replica(clock=Plain(1.0), max_num_seqs=1, num_blocks=10)
    count, found = replicas_for(one, traffic, 2.6, Slo(4.0, 1.0, 0.95))
    assert found.holds
    assert 3 <= count <= 5
    with pytest.raises(PlanRefused, match="alone"):
        replicas_for(one, traffic, 0.1, Slo(0.5, 1.0, 0.95))


def test_the_interval_is_students() -> None:
    found = interval([1.0, 2.0, 3.0])
    assert found.mean == 2
    assert found.high - found.mean == pytest.approx(4.303 / 3**0.5)


@pytest.mark.parametrize("descend", [0.0, 0.5, 1.0])
def test_beams_are_those_of_the_paged_cache(descend: float) -> None:
    pytest.importorskip("torch")
    from kernels.kv_cache import PagedKVCache

    width, prompt, steps = 4, 50, 60
    cache = PagedKVCache(num_blocks=400, block_size=16, kv_heads=1, head_dim=16, device="cpu")
    rng = random.Random(3)
    cache.add((0, 0))
    cache.append((0, 0), prompt)
    for i in range(1, width):
        cache.fork((0, 0), (0, i))
    used = []
    for step in range(steps):
        parents = [rng.randrange(width) if rng.random() < descend else i for i in range(width)]
        for i, parent in enumerate(parents):
            cache.fork((step, parent), (step + 1, i))
        for i in range(width):
            cache.free((step, i))
        for i in range(width):
            cache.append((step + 1, i), 1)
        used.append(cache.usage().used)
    found = beam_search(prompt, steps, width, 16, seed=3, descend=descend)
    assert found.at_end == used[-1]
    assert found.mean == pytest.approx(sum(used) / steps)


def test_samples_share_their_prompts_full_blocks() -> None:
    found = beam_search(160, 32, 3, 16, descend=0.0)
    assert found.at_end == 10 + 3 * 2
    assert found.copied_at_end == 3 * 12


def test_holes_join_again() -> None:
    memory = FirstFit(100)
    starts = [memory.take(25) for _ in range(4)]
    assert starts == [0, 25, 50, 75]
    memory.give_back(0, 25)
    memory.give_back(50, 25)
    assert memory.take(26) is None
    memory.give_back(25, 25)
    assert memory.holes == [(0, 75)]


def test_equal_chats_through_equal_rooms() -> None:
    work = [(8, 8)] * 12
    found = contiguous(work, 64, [16] * 12)
    assert (found.at_once, found.rounds, found.scattered) == (4, 24, 0)
    blocks = paged(work, 64, 16)
    assert (blocks.at_once, blocks.rounds) == (4, 24)
    # Each chat has 8 tokens and 4.5 more in the mean of its eight steps, of 16.
    for one in (found, blocks):
        assert (one.stored, one.reserved) == (4 * 12.5 / 64, 4 * 3.5 / 64)


def test_holes_that_a_chat_does_not_fit_into_by_hand() -> None:
    """The first and third of 30 end after a step, the second after three: for two of five steps 70
    of 100 tokens are free, and none in one piece for the 60 of the fourth."""
    found = contiguous([(8, 1), (8, 3), (8, 1), (8, 2)], 100, [30, 30, 30, 60])
    assert found.rounds == 5
    assert found.scattered == pytest.approx(70 * 2 / 5 / 100)


def test_every_claim_comes_out() -> None:
    one = replica(num_blocks=4000, max_num_seqs=128, max_model_len=4096,
                  max_num_batched_tokens=2048)  # fmt: skip
    paging = experiments.paged_memory(one, geometric(300), geometric(200))
    more = float(paging.found.split()[0])
    assert 2 < more < 5
    static = experiments.continuous_batching(one, geometric(300), geometric(200))
    assert len(static.rows) == 6
    agents = experiments.agent_prefixes(replica(num_blocks=60_000, max_model_len=32768))
    assert float(agents.found.split()[0]) > 1.5


def test_both_against_neither_is_the_whole_batch_over_one() -> None:
    """A step takes a second whatever is in it, prompts of 100 and answers of 50 take 50 steps: one
    at a time 1/50 a second; 50 at once one a second. The batch is the factor."""
    one = replica(clock=Plain(1.0), num_blocks=100_000, max_num_seqs=50, max_model_len=4096,
                  max_num_batched_tokens=8192)  # fmt: skip
    found = experiments.both_against_neither(one, always(100), always(50))
    rates = {row[0]: float(row[2]) for row in found.rows}
    first, *_, last = rates.values()
    assert first == pytest.approx(1 / 50)
    assert last == pytest.approx(1.0, rel=0.1)
    assert float(found.rows[-1][3]) == pytest.approx(50, rel=0.1)
    for size in (4, 8, 16):
        assert rates[f"static, batches of {size}, 2,048 tokens each"] == pytest.approx(
            size / 50, rel=0.05
        )


def test_every_claim_is_there_by_name_with_as_many_cells_as_columns() -> None:
    one = replica(num_blocks=60_000, max_num_seqs=64, max_model_len=32768,
                  max_num_batched_tokens=2048)  # fmt: skip
    outcomes = dict(claims.tried(one, geometric(300), geometric(200)))
    assert list(outcomes) == list(claims.CLAIMS)
    assert len(outcomes) == 6
    for name, outcome in outcomes.items():
        data = claims.as_data(name, outcome)
        assert all(list(row) == list(outcome.head) for row in data["rows"])
        text = claims.as_text(name, outcome)
        assert text.startswith(name)
        assert text.count("\n") == 5 + len(outcome.rows)


def test_fewer_tokens_a_step_make_prompts_wait_for_more_steps() -> None:
    """Steps of 10 ms: a prompt of 2,000 takes one of 2,048 tokens, and four of 512."""

    def make(deployment: Deployment):  # type: ignore[no-untyped-def]
        return replica(clock=Plain(0.01), num_blocks=4000, max_model_len=4096,
                       max_num_batched_tokens=deployment.max_num_batched_tokens)  # fmt: skip

    def drawn(shared):  # type: ignore[no-untyped-def]
        return lambda rate, seed: synthetic(
            rate=rate, count=200, prompt=always(2000), output=always(2), cv=0.0, seed=seed,
            shared_tokens=shared,
        )  # fmt: skip

    rows = list(sensitivity(make, Deployment(), drawn, Slo(1.0, 1.0), 1.0))
    steps = {row.value: row.ttft_p95_s for row in rows if row.change == "Tokens a step"}
    assert list(steps) == ["512", "2,048", "8,192"]
    assert steps["512"] == pytest.approx(0.04, rel=0.02)
    assert steps["2,048"] == pytest.approx(0.01, rel=0.02)
    assert "Tokens a step 512" in as_text(rows, 1.0)


def test_long_requests_are_not_cut_to_the_papers_reservation() -> None:
    """Requests of 3,000 + 1,000 tokens in 40,960: ten of 4,096 at once, whole lengths reserved.
    Their prompts take two steps of a second, their answers 999 more: ten in about 1,000 s."""
    one = replica(clock=Plain(1.0), num_blocks=2560, max_num_seqs=100, max_model_len=8192,
                  max_num_batched_tokens=15_100)  # fmt: skip
    found = experiments.paged_memory(one, always(3000), always(1000))
    rows = {row[0]: row for row in found.rows}
    whole = rows["contiguous, 4,096 tokens each"]
    assert float(whole[1]) == pytest.approx(10, abs=0.1)
    assert float(whole[3]) == pytest.approx(0.01, abs=0.001)
    chats = {
        row[0]: row for row in experiments.thousand_chats(one, always(3000), always(1000)).rows
    }
    assert float(chats["contiguous, 4,096 tokens"][1]) == pytest.approx(10, abs=0.1)


def test_short_requests_have_the_papers_reservation() -> None:
    one = replica(num_blocks=2560, max_model_len=8192, max_num_batched_tokens=512)
    labels = [row[0] for row in experiments.paged_memory(one, always(90), always(10)).rows]
    assert labels[0] == "contiguous, 2,048 tokens each"


@pytest.mark.parametrize("name", ["Paged against contiguous", "Continuous against static",
                                  "Both against neither", "1,000 chats"])  # fmt: skip
def test_requests_that_a_replica_never_takes_are_one_sentence(name: str) -> None:
    """The pool's 3,200 tokens hold 3,200 in blocks of 128, less than one request."""
    one = replica(num_blocks=200, max_model_len=8192)
    with pytest.raises(PlanRefused, match="longer than the 3,200 tokens"):
        claims.CLAIMS[name](one, always(3200), always(1))
    assert claims.CLAIMS[name](one, always(3000), always(200)).rows
