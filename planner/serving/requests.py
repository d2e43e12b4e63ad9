"""Requests of a traffic: their arrivals, lengths, and what their prompts have in common."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from planner.errors import PlanRefused
from planner.workload import MAX_TOKENS

Sampler = Callable[[random.Random], int]
"""Draws one length in tokens."""
MOST_PER_S = 10**9
QUANTILE_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


@dataclass(slots=True)
class Request:
    """One request. Its first shared_tokens are those of every request of the same `group`.

    session: requests of one conversation; each prompt begins with the whole one before it.
    turn: its number there, from 0.
    """

    arrival_s: float
    prompt_tokens: int
    output_tokens: int
    shared_tokens: int = 0
    group: int = 0
    session: int | None = None
    turn: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and answer."""
        return self.prompt_tokens + self.output_tokens


def always(tokens: int) -> Sampler:
    """The same length every time."""
    return lambda _: tokens


def quantiles(points: Sequence[tuple[float, float]]) -> Sampler:
    """Lengths from (share, tokens) points of a distribution, straight lines between them."""
    shares = [share for share, _ in points]
    values = [value for _, value in points]
    if len(points) < 2 or shares[0] != 0 or shares[-1] != 1:
        raise PlanRefused("quantiles need points from share 0 to share 1")
    if sorted(shares) != shares or sorted(values) != values:
        raise PlanRefused("quantiles must not fall")

    def draw(rng: random.Random) -> int:
        at = rng.random()
        i = 1
        while shares[i] < at:
            i += 1
        span = shares[i] - shares[i - 1]
        part = (at - shares[i - 1]) / span if span else 1.0
        return max(1, round(values[i - 1] + part * (values[i] - values[i - 1])))

    return draw


def gaps_s(rate: float, cv: float, rng: random.Random) -> Iterator[float]:
    """Times between arrivals: cv 0 even, 1 Poisson, others gamma with that variation."""
    if not 0 < rate < MOST_PER_S:
        raise PlanRefused(
            f"rate {rate:,.10g} must be above 0 and below {MOST_PER_S:,} requests per second"
        )
    if cv and not 0.001 <= cv <= 100:
        raise PlanRefused(f"variation of the gaps {cv:g} must be 0, or from 0.001 to 100")
    shape = 0.0 if cv == 0 else 1 / cv**2
    while True:
        if cv == 0:
            yield 1 / rate
        elif cv == 1:
            yield rng.expovariate(rate)
        else:
            yield rng.gammavariate(shape, 1 / (rate * shape))


def synthetic(
    *,
    rate: float,
    count: int,
    prompt: Sampler,
    output: Sampler,
    cv: float = 1.0,
    shared_tokens: int = 0,
    seed: int = 0,
) -> Iterator[Request]:
    """`count` requests at `rate` per second.

    Gaps and lengths come from generators of their own, so that two rates with one seed see the same
    requests in the same rhythm.
    """
    rhythm, sizes = random.Random(seed), random.Random(seed + 0x5EED)
    now = 0.0
    for gap in islice(gaps_s(rate, cv, rhythm), count):
        now += gap
        tokens = prompt(sizes)
        yield Request(now, tokens, output(sizes), min(shared_tokens, tokens - 1))


def at_once(requests: Iterator[Request]) -> Iterator[Request]:
    """The same requests, all waiting from the start."""
    for request in requests:
        request.arrival_s = 0.0
        yield request


def faster(requests: Iterator[Request], factor: float) -> Iterator[Request]:
    """The same requests in `1 / factor` of the time."""
    for request in requests:
        request.arrival_s /= factor
        yield request


def check(request: Request) -> None:
    """Raises PlanRefused for lengths that no request has."""
    for name in ("prompt_tokens", "output_tokens"):
        tokens = getattr(request, name)
        if not 1 <= tokens <= MAX_TOKENS:
            raise PlanRefused(f"{name} {tokens} must be between 1 and {MAX_TOKENS:,}")
