"""How the cache is allocated, and whether prompts find theirs in it again."""

from planner.guide.case import WORTH, Case, Decision, worth
from planner.timing.latency import Latency, latency
from planner.units import format_bytes


def allocation(case: Case) -> Decision:
    """Blocks on demand against room for the longest sequence: bytes that no token uses."""
    waste = case.plan(case.deployment).waste
    reserved = waste.over_reserved_bytes
    if not reserved:
        why = "every sequence is as long as the longest, so reserving that length wastes nothing"
        return Decision("cache allocation", "no matter", why, 0.0)
    return Decision(
        "cache allocation",
        "paged",
        f"reserving the longest context for every sequence would hold "
        f"{format_bytes(reserved)} of each replica that no token uses; blocks waste "
        f"{format_bytes(waste.rounding_bytes)}",
        float(reserved),
    )


def prefix_caching(case: Case) -> Decision:
    """A prompt with its cached part against one without."""
    cold = case.request.model_copy(update={"cached_tokens": 0})
    without = latency(case.model, case.gpu, case.deployment, case.speed, cold, case.users)
    ratio = without.ttft.seconds / case.now.ttft.seconds
    return Decision(
        "prefix caching",
        "on" if ratio > WORTH else "no matter",
        f"a prompt takes {case.now.ttft.seconds:.2f} s instead of "
        f"{without.ttft.seconds:.2f} s, and answers run {_ratio(without, case.now):.2f} times "
        f"as fast under load{worth(ratio)}",
        ratio,
    )


def _ratio(slow: Latency, fast: Latency) -> float:
    return float(slow.load.tpot_s) / float(fast.load.tpot_s)
