"""What a simulation says of requests that are refused, and of figures that there are none of."""

import pytest

from planner.errors import PlanRefused
from planner.serving.metrics import Slo
from planner.serving.objective import highest_rate, replicas_for
from planner.serving.report import as_data, as_text, verdict
from planner.serving.requests import Request
from planner.serving.simulator import simulate
from tests.planner.serving.worlds import replica

ROOM = 200 * 16
"""Tokens of the pool: its blocks and their size."""


def test_where_nothing_is_served_there_are_no_figures() -> None:
    found = simulate([Request(0.0, 3000, 1), Request(1.0, 2048, 1)], replica())
    lines = as_text(found).splitlines()
    assert lines[0] == (
        "Nothing is served: 2 of 2 requests refused, longer than the model's limit of 2,048 tokens "
        "(max_model_len)."
    )
    assert len(lines) == 2
    data = as_data(found)
    assert data["requests"]["refused"] == data["requests"]["refused_too_long"] == 2
    assert data["requests"]["refused_by_pool"] == 0
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert set(data[name]) == {"mean", "p50", "p90", "p95", "p99", "max"}
        assert set(data[name].values()) == {None}
    for name in ("duration_s", "requests_per_s", "mean_queue", "block_use", "prefix_hit_share"):
        assert data[name] is None
    assert data["slo"]["attained"] == 0


@pytest.mark.parametrize(("share", "said"), [(0.999, "99.9 %"), (0.995, "99.5 %"), (0.95, "95 %")])
def test_the_share_that_was_asked_for_is_not_rounded(share: float, said: str) -> None:
    found = simulate([Request(0.0, 10, 1)], replica(), slo=Slo(share=share))
    assert f"(asked: {said})" in as_text(found).splitlines()[0]


def test_refusals_stand_beside_the_verdict_with_their_limits() -> None:
    """10,000 tokens a sequence, 3,200 in the pool: one request of 20,001, two of 5,001, one of 11;
    a last token is not stored, so one of 3,201 is served."""
    lengths = (20_000, 5000, 5000, 10, ROOM)
    work = [Request(0.0, prompt, 1) for prompt in lengths]
    found = simulate(work, replica(max_model_len=10_000))
    assert as_text(found).splitlines()[1] == (
        "3 of 5 requests refused, 1 longer than the model's limit of 10,000 tokens "
        "(max_model_len), 2 needing more than the pool's 3,200 tokens."
    )
    counts = as_data(found)["requests"]
    assert (counts["finished"], counts["refused"]) == (2, 3)
    assert (counts["refused_too_long"], counts["refused_by_pool"]) == (1, 2)
    assert "refused" not in as_text(simulate([Request(0.0, 10, 1)], replica()))


def test_answers_of_one_token_have_no_time_per_token() -> None:
    """A step of 0.01 s, 10 prompt tokens of 10 us each: the first token after 10.1 ms."""
    found = simulate([Request(0.0, 10, 1)], replica())
    data = as_data(found)
    assert set(data["tpot_s"].values()) == {None}
    assert data["ttft_s"]["mean"] == data["e2e_s"]["mean"] == pytest.approx(0.0101)
    assert "TPOT  none: every answer is one token" in as_text(found)


def test_no_rate_or_replicas_are_searched_for_where_too_many_are_refused() -> None:
    """One of ten is refused: 90 % at most are within the SLO, never 95 %."""

    def traffic(rate: float, seed: int) -> list[Request]:
        return [Request(i / rate, 3000 if i == 5 else 10, 2) for i in range(10)]

    words = "no number of replicas holds this SLO: 1 of 10 requests refused, longer than"
    with pytest.raises(PlanRefused, match=words):
        highest_rate(replica(), traffic, Slo(10.0, 1.0, 0.95))
    with pytest.raises(PlanRefused, match=words):
        replicas_for(replica(), traffic, 1.0, Slo(10.0, 1.0, 0.95))
    assert replicas_for(replica(), traffic, 1.0, Slo(10.0, 1.0, 0.9))[0] == 1


def test_the_limit_that_is_missed_is_named() -> None:
    """A step of 0.01 s and 10 us a prompt token. Both prompts of 1,000 come at once, 512 tokens a
    step: the first's first token comes after 30 ms, the second's after 60; a next one within 20."""
    work = [Request(0.0, 1000, 2), Request(0.0, 1000, 2)]
    found = simulate(work, replica(), slo=Slo(0.04, 0.05, 0.95))
    served = as_data(found)["requests"]
    assert (served["within_slo"], served["within_ttft"], served["within_tpot"]) == (1, 1, 2)
    assert (
        as_text(found)
        .splitlines()[0]
        .endswith("(asked: 95 %). TTFT alone is kept by 50.0 %, TPOT alone by 100.0 %.")
    )
    assert "TTFT alone" not in as_text(simulate(work, replica(), slo=Slo(9.0, 1.0, 0.95)))


@pytest.mark.parametrize(
    ("lost", "asked", "said"),
    [
        (1, 1.0, "Does not hold: 99.98 % of requests"),
        (1, 0.95, "Holds: 99.98 % of requests"),
        (201, 0.95, "Does not hold: 94.97 % of requests"),
        (200, 0.95, "Holds: 95.0 % of requests"),
        (0, 1.0, "Holds: 100.0 % of requests"),
    ],
)
def test_a_share_is_not_rounded_to_the_other_side(lost: int, asked: float, said: str) -> None:
    """4,000 requests a second apart, of which `lost` are too long; 1/4,000 is 0.025 %."""
    work = [Request(float(n), 3000 if n < lost else 10, 1) for n in range(4000)]
    found = simulate(work, replica(), slo=Slo(share=asked))
    assert verdict(found).startswith(said)
