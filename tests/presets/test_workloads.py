"""The trace summaries, recomputed another way from the traces where they are."""

import csv
import math
import statistics
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from planner.errors import PlanRefused
from presets.make_workloads import summarise
from presets.workloads import TokenQuantiles, all_trace_summaries, load_trace_summary

DATA = Path(__file__).parents[3] / "shared" / "data"
FILES = {
    "azure-conversation-2023": "azure_llm_trace_2023_conv.csv",
    "azure-code-2023": "azure_llm_trace_2023_code.csv",
}


def test_every_summary_is_attributed() -> None:
    assert {summary.id for summary in all_trace_summaries()} == FILES.keys()
    for summary in all_trace_summaries():
        assert "CC BY 4.0" in summary.attribution
        assert "Azure" in summary.attribution


def test_medians_are_those_of_the_splitwise_paper() -> None:
    code, conversation = (
        load_trace_summary("azure-code-2023"),
        load_trace_summary("azure-conversation-2023"),
    )
    assert (code.context_tokens.p50, conversation.context_tokens.p50) == pytest.approx(
        (1500, 1020), rel=0.03
    )
    assert (code.generated_tokens.p50, conversation.generated_tokens.p50) == pytest.approx(
        (13, 129), abs=1
    )


def test_an_unknown_workload_is_refused() -> None:
    with pytest.raises(PlanRefused, match="azure-code-2023"):
        load_trace_summary("azure-code")


def check(tokens: list[int], summary: TokenQuantiles) -> None:
    tokens.sort()
    assert summary.mean == pytest.approx(statistics.fmean(tokens), abs=0.01)
    assert (summary.min, summary.max) == (tokens[0], tokens[-1])
    for percent in (10, 25, 50, 75, 90, 95, 99):
        rank = math.ceil(percent * len(tokens) / 100)
        assert getattr(summary, f"p{percent}") == tokens[rank - 1]


@pytest.mark.skipif(not DATA.exists(), reason="the traces of shared/data are not here")
@pytest.mark.parametrize("trace_id", FILES)
def test_figures_follow_from_the_trace(trace_id: str) -> None:
    with (DATA / FILES[trace_id]).open() as file:
        rows = list(csv.DictReader(file))
    summary = load_trace_summary(trace_id)
    assert summary.request_count == len(rows)
    check([int(row["ContextTokens"]) for row in rows], summary.context_tokens)
    check([int(row["GeneratedTokens"]) for row in rows], summary.generated_tokens)

    times = sorted(datetime.fromisoformat(row["TIMESTAMP"]).timestamp() for row in rows)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert summary.duration_s == pytest.approx(times[-1] - times[0], abs=0.001)
    assert summary.requests_per_s == pytest.approx(1 / statistics.fmean(gaps), rel=1e-3)
    cv = statistics.pstdev(gaps) / statistics.fmean(gaps)
    assert summary.interarrival_cv == pytest.approx(cv, rel=1e-3)
    per_minute = [int((time - times[0]) // 60) for time in times]
    busiest = max(per_minute.count(minute) for minute in set(per_minute))
    assert summary.busiest_minute_requests_per_s == pytest.approx(busiest / 60, abs=1e-3)


@pytest.mark.skipif(not DATA.exists(), reason="the traces of shared/data are not here")
@pytest.mark.parametrize("trace_id", FILES)
def test_the_script_makes_the_file(trace_id: str) -> None:
    assert summarise(DATA / FILES[trace_id]) == load_trace_summary(trace_id)
