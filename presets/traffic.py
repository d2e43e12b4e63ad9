"""Lengths of the production traces as samplers, from their published quantiles."""

from planner.serving.requests import QUANTILE_SHARES, Sampler, quantiles
from presets.workloads import TokenQuantiles


def sampler(found: TokenQuantiles) -> Sampler:
    """Lengths with these quantiles, straight lines between them."""
    values = (found.min, found.p10, found.p25, found.p50, found.p75, found.p90, found.p95,
              found.p99, found.max)  # fmt: skip
    return quantiles(list(zip(QUANTILE_SHARES, values, strict=True)))
