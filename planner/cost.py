"""What serving costs: dollars an hour, dollars a million tokens, tokens a joule."""

from dataclasses import dataclass
from math import isfinite

from planner.errors import PlanRefused

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Cost:
    """Rates of a deployment at one load; None where power is unknown.

    Input and output prices split the time between prefill and decode, so they add up to the
    bill: input tokens x theirs + output tokens x theirs = hours x usd_per_hour.
    """

    usd_per_hour: float
    usd_per_million_tokens: float
    usd_per_million_input_tokens: float
    usd_per_million_output_tokens: float
    output_tokens_per_joule: float | None
    watts: float | None


def tokens_per_joule(output_tokens_per_s: float, gpus: int, watts_per_gpu: float) -> float:
    """Output tokens for each joule of `gpus` GPUs. Raises PlanRefused unless power is above 0."""
    _above_zero("watts", watts_per_gpu)
    return output_tokens_per_s / (watts_per_gpu * gpus)


def _above_zero(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise PlanRefused(f"{name} must be above 0, not {value:g}")


def cost(
    *,
    usd_per_hour: float,
    gpus: int,
    requests_per_s: float,
    prompt_tokens: int,
    output_tokens: int,
    prefill_share: float,
    watts_per_gpu: float | None = None,
) -> Cost:
    """The cost of `requests_per_s` requests on `gpus` GPUs.

    usd_per_hour: of all GPUs that are paid for (Offer.usd_per_hour). prefill_share: the part of
    the GPUs' time that goes into prompts, or waits for them on GPUs that do nothing else.
    watts_per_gpu: the board limit, or what was measured under this load. Raises PlanRefused unless
    price and power are above 0.
    """
    _above_zero("usd_per_hour", usd_per_hour)
    per_s = usd_per_hour / SECONDS_PER_HOUR
    inputs, outputs = requests_per_s * prompt_tokens, requests_per_s * output_tokens
    return Cost(
        usd_per_hour=usd_per_hour,
        usd_per_million_tokens=1e6 * per_s / (inputs + outputs),
        usd_per_million_input_tokens=1e6 * per_s * prefill_share / inputs if inputs else 0.0,
        usd_per_million_output_tokens=1e6 * per_s * (1 - prefill_share) / outputs,
        output_tokens_per_joule=(
            None if watts_per_gpu is None else tokens_per_joule(outputs, gpus, watts_per_gpu)
        ),
        watts=None if watts_per_gpu is None else watts_per_gpu * gpus,
    )
