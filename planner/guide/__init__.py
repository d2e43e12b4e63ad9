"""What to choose for a deployment, each choice with the figure that decides it.

    for decision in guide(model, gpu, deployment, speed, request, users):
        print(decision.topic, decision.choice, decision.because)

Nothing is a rule of thumb: every sentence is computed for this model, card and load.
"""

from collections.abc import Iterator

from planner.deployment import Deployment
from planner.guide import cache, chunks, formats, layout
from planner.guide.attention import attention_choice
from planner.guide.case import Case, Decision
from planner.guide.speculation import drafting
from planner.hardware import Gpu
from planner.model import Model
from planner.timing.latency import Request
from planner.timing.speculation import ACCEPTANCE
from planner.timing.speed import Speed


def guide(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    speed: Speed,
    request: Request,
    users: int,
    *,
    asked: int | None = None,
    acceptance: float = ACCEPTANCE,
) -> tuple[Decision, ...]:
    """The decisions for `users` users at once; asked: with those who wait for memory, if any."""
    case = Case(model, gpu, deployment, speed, request, users, asked or users)
    return tuple(_decisions(case, acceptance))


def _decisions(case: Case, acceptance: float) -> Iterator[Decision]:
    name, because, ratio = attention_choice(
        case.model, case.gpu, case.speed, case.request.prompt_tokens
    )
    yield Decision("attention", name, because, ratio)
    yield formats.attention_arithmetic(case)
    yield cache.allocation(case)
    if case.request.cached_tokens:
        yield cache.prefix_caching(case)
    yield formats.cache_format(case)
    yield formats.weight_format(case)
    yield drafting(case, acceptance)
    yield layout.layout(case)
    yield layout.separation(case)
    yield chunks.prompt_chunks(case)
