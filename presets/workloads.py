"""Production request traces summed up: lengths of prompts and answers, and how fast they arrive."""

import json
from functools import cache
from pathlib import Path

from planner.frozen import Frozen
from presets.suggestion import unknown_id

_FILE = Path(__file__).with_name("workloads.json")


class TokenQuantiles(Frozen):
    """Tokens of one request. `p90` is the smallest observed count that 90 % do not exceed."""

    mean: float
    min: int
    p10: int
    p25: int
    p50: int
    p75: int
    p90: int
    p95: int
    p99: int
    max: int


class TraceSummary(Frozen):
    """One trace. `attribution` must be shown where its figures are."""

    id: str
    name: str
    attribution: str
    url: str
    request_count: int
    duration_s: float
    """From the first arrival to the last."""
    requests_per_s: float
    """Arrivals after the first, over the duration."""
    busiest_minute_requests_per_s: float
    """The most arrivals in one of the minutes counted from the first arrival, per second."""
    interarrival_cv: float
    """Standard deviation of the gaps between arrivals over their mean; 1 for a Poisson process."""
    context_tokens: TokenQuantiles
    generated_tokens: TokenQuantiles


@cache
def load_trace_summary(trace_id: str) -> TraceSummary:
    """The summary of that id. Raises PlanRefused naming the closest ids."""
    summaries = {summary.id: summary for summary in all_trace_summaries()}
    try:
        return summaries[trace_id.lower()]
    except KeyError:
        raise unknown_id("workload", trace_id, summaries) from None


@cache
def all_trace_summaries() -> tuple[TraceSummary, ...]:
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(TraceSummary(**entry) for entry in document["traces"])
