"""Which hardware serves this model, at this load and speed, for the least money.

    found = search(model, offers, speed_of, Target(request=Request(), concurrency=50, tpot_s=0.04))
    found.winners[0].usd_per_hour, found.frontier, found.losers

Every GPU x count x layout x formats x engine x chunk size is tried. What meets the target is
ranked by cost; what does not says why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from planner.admission.admission import Rule
from planner.admission.rules import rule_of
from planner.deployment import Deployment
from planner.engines.extended import extended
from planner.errors import PlanRefused, SizewellError
from planner.hardware import Gpu
from planner.model import Model
from planner.offer import Offer
from planner.positions import reachable
from planner.run_dtype import as_run
from planner.search.apart import apart
from planner.search.candidates import Candidate, Found, Refusal, distance, order, pareto
from planner.search.groups import Formats
from planner.search.judge import Try
from planner.search.space import Space, Target, deployments
from planner.search.sweep import Ints
from planner.timing.speed import Speed

MOST_USERS = 32
USER_STEPS = 32
"""Headroom is looked for up to so many times the users asked for, in so many steps."""


def search(
    model: Model,
    offers: Sequence[Offer],
    speed: Callable[[Gpu], Speed],
    target: Target,
    space: Space | None = None,
    *,
    config: Mapping[str, Any] | None = None,
) -> Found:
    """Everything in `space` tried on every offer. config: the model's own, for what engines load
    beside the text model. Raises PlanRefused as checked() does.
    """
    note = checked(model, offers, target)
    chosen = space or Space()
    part = deployments(model, chosen)
    found = search_part(model, offers, speed, target, chosen, part, config=config)
    return merged([found], note, model=model, space=chosen)


def checked(model: Model, offers: Sequence[Offer], target: Target) -> str | None:
    """What to know about the target's context before a search, if anything.

    Raises PlanRefused when there is no offer, or the model cannot run that far.
    """
    if not offers:
        raise PlanRefused("no GPU with a known price is left to search: name others or give prices")
    return reachable(model, target.request.context)


def search_part(
    model: Model,
    offers: Sequence[Offer],
    speed: Callable[[Gpu], Speed],
    target: Target,
    space: Space,
    part: Iterable[Deployment],
    *,
    config: Mapping[str, Any] | None = None,
) -> Found:
    """The same for some deployments only, without ranking: parts of a search run anywhere."""
    ready: dict[str, tuple[Model, dict[str, Rule], Formats]] = {}
    users = user_steps(target.concurrency)
    found: list[Candidate] = []
    refusals: list[Refusal] = []
    points = 0
    for deployment in part:
        run = as_run(model, deployment.weights_dtype)
        if run.dtype not in ready:
            served, own, _ = extended(run, config, None, target.request.context)
            rules = {engine: rule_of(engine, served, own) for engine in space.engines}
            ready[run.dtype] = run, rules, Formats(run, offers, speed, space.engines)
        run, rules, chosen = ready[run.dtype]
        try:
            tries = [
                Try(
                    run,
                    deployment,
                    target,
                    users,
                    space,
                    group.within(deployment),
                    rules,
                    config,
                )
                for group in chosen.groups(deployment)
            ]
            for one in tries:
                found += one.candidates()
                points += one.points
                refusals += one.refusals
        except SizewellError as error:
            refusals.append(Refusal(deployment, str(error)))
    winners = tuple(c for c in found if c.lost is None)
    losers = tuple(c for c in found if c.lost is not None)
    unsupported = tuple(sorted({r for *_, chosen in ready.values() for r in chosen.unsupported}))
    return Found(target, winners, (), losers, tuple(refusals), points, unsupported)


def merged(parts: Sequence[Found], note: str | None = None, *, model: Model, space: Space) -> Found:
    """Parts of one search as one answer, ranked; with space.apart, pairs of them too.

    Raises PlanRefused if nothing was possible.
    """
    target = parts[0].target
    if space.apart:
        every = [c for part in parts for c in (*part.winners, *part.losers)]
        pairs = apart(every, target, model, space.max_gpus)
        met = tuple(pair for pair in pairs if pair.lost is None)
        missed = tuple(pair for pair in pairs if pair.lost is not None)
        parts = [*parts, Found(target, met, (), missed, (), 0)]
    refusals = tuple(dict.fromkeys(r for part in parts for r in part.refusals))
    unsupported = tuple(sorted({reason for part in parts for reason in part.unsupported}))
    reasons = (*(refusal.reason for refusal in refusals), *unsupported)
    if reasons and not any(part.winners or part.losers for part in parts):
        raise PlanRefused(reasons[0])
    winners = sorted((c for part in parts for c in part.winners), key=order)
    losers = sorted((c for part in parts for c in part.losers), key=distance)
    return Found(
        target=target,
        winners=tuple(winners),
        frontier=pareto(winners),
        losers=tuple(losers),
        refusals=refusals,
        points=sum(part.points for part in parts),
        unsupported=unsupported,
        note=note,
    )


def user_steps(concurrency: int) -> Ints:
    """Numbers of users that are tried, from those asked for upwards."""
    steps = concurrency * np.geomspace(1, MOST_USERS, USER_STEPS)
    found: Ints = np.unique(np.ceil(steps - 1e-9).astype(np.int64))
    return found
