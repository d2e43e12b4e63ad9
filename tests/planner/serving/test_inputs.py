"""Traces are checked row by row; drawn requests have the rate and the lengths asked for."""

from itertools import pairwise
from pathlib import Path

import pytest

from planner.errors import PlanRefused
from planner.serving.histogram import Histogram
from planner.serving.requests import always, quantiles, synthetic
from planner.serving.timeline import BINS, Timeline
from planner.serving.trace import read_trace
from presets.traffic import sampler
from presets.workloads import load_trace_summary
from tests.planner.serving.worlds import geometric

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def test_a_trace_is_read() -> None:
    rows = ["2023-11-16 18:15:46.6805900,374,44\n", "2023-11-16 18:15:50.9951690,396,109\n"]
    first, second = read_trace([HEAD, *rows])
    assert (first.arrival_s, first.prompt_tokens, first.output_tokens) == (0.0, 374, 44)
    assert second.arrival_s == pytest.approx(4.314579, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no column TIMESTAMP"),
        (HEAD, "no rows"),
        ("TIMESTAMP,ContextTokens\n1,2\n", "no column GeneratedTokens"),
        (HEAD + "1,2\n", "line 2 .* 2 of 3 fields"),
        (HEAD + "1,5,5\n2,0,5\n", "line 3 .* ContextTokens '0'"),
        (HEAD + "1,5,5\n\n2,3,1.5\n", "line 4 .* GeneratedTokens '1.5'"),
        (HEAD + "soon,5,5\n", "line 2 .* TIMESTAMP 'soon'"),
        (HEAD + "nan,5,5\n", "line 2 .* TIMESTAMP"),
        (HEAD + "5,5,5\n4,5,5\n", "line 3 .* earlier"),
    ],
)
def test_bad_rows_are_named(text: str, says: str) -> None:
    with pytest.raises(PlanRefused, match=says):
        list(read_trace(text.splitlines(keepends=True)))


@pytest.mark.skipif(not DATA.is_dir(), reason="the Azure traces are not here")
def test_the_azure_hour_is_whole() -> None:
    with (DATA / "azure_llm_trace_2023_conv.csv").open() as file:
        found = list(read_trace(file))
    known = load_trace_summary("azure-conversation-2023")
    assert len(found) == known.request_count
    assert found[-1].arrival_s == pytest.approx(known.duration_s, abs=1e-3)
    mean = sum(r.prompt_tokens for r in found) / len(found)
    assert mean == pytest.approx(known.context_tokens.mean, abs=0.01)


@pytest.mark.parametrize("cv", [0.0, 1.0, 2.5])
def test_drawn_requests_have_their_rate_and_variation(cv: float) -> None:
    work = list(synthetic(rate=4, count=40_000, prompt=always(9), output=geometric(20), cv=cv))
    gaps = [b.arrival_s - a.arrival_s for a, b in pairwise(work)]
    mean = sum(gaps) / len(gaps)
    spread = (sum((g - mean) ** 2 for g in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.25, rel=0.05)
    assert spread / mean == pytest.approx(cv, rel=0.05, abs=1e-9)
    assert sum(r.output_tokens for r in work) / len(work) == pytest.approx(20, rel=0.05)


def test_one_seed_is_one_traffic_at_every_rate() -> None:
    slow, fast = (
        list(synthetic(rate=r, count=50, prompt=geometric(90), output=always(3), seed=4))
        for r in (1, 2)
    )
    assert [r.prompt_tokens for r in slow] == [r.prompt_tokens for r in fast]
    assert slow[-1].arrival_s == pytest.approx(2 * fast[-1].arrival_s)


def test_lengths_follow_the_published_quantiles() -> None:
    known = load_trace_summary("azure-conversation-2023").context_tokens
    work = synthetic(rate=1, count=20_000, prompt=sampler(known), output=always(1))
    lengths = sorted(r.prompt_tokens for r in work)
    for share, tokens in ((0.25, known.p25), (0.5, known.p50), (0.9, known.p90)):
        assert lengths[int(share * 20_000)] == pytest.approx(tokens, rel=0.05)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(PlanRefused, match="rate"):
        list(synthetic(rate=rate, count=1, prompt=always(1), output=always(1)))


def test_falling_quantiles_are_refused() -> None:
    with pytest.raises(PlanRefused, match="fall"):
        quantiles([(0.0, 5), (1.0, 3)])


def test_percentiles_are_within_half_a_percent() -> None:
    found = Histogram()
    for i in range(1, 10_001):
        found.add(i / 100)
    for share in (0.01, 0.5, 0.95, 0.99):
        assert found.quantile(share) == pytest.approx(100 * share, rel=0.005)
    assert (found.mean, found.largest) == (pytest.approx(50.005), 100)


def test_a_timeline_keeps_integrals_while_it_widens() -> None:
    found = Timeline(0.1)
    for i in range(1000):
        found.spend(i * 1.0, 1.0, (1.0, 2.0, 0.0, 0.0, 0.0))
        found.note("arrivals", i * 1.0)
    assert sum(found.integrals["running"]) == pytest.approx(2000)
    assert sum(found.events["arrivals"]) == 1000
    assert len(found.rows(1000)) <= BINS
    assert all(row["running"] == pytest.approx(2.0) for row in found.rows(1000))
