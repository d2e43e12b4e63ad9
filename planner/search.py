"""Which hardware serves this model, at this load and speed, for the least money.

    found = search(model, offers, speed_of, Target(request=Request(), concurrency=50, tpot_s=0.04))
    found.winners[0].usd_per_hour, found.frontier, found.losers

Every GPU x count x layout x formats x chunk size is tried. What meets the target is ranked by
cost; what does not says why.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from planner.candidates import REASONS, Candidate, Found, Refusal, pareto, rank
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.footprint import DEFAULT_SM_COUNT
from planner.formats.dtypes import kv_format
from planner.formats.format_support import missing
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model
from planner.positions import reachable
from planner.search_space import Offer, Space, Target, deployments
from planner.search_sweep import Compiled, Ints, compile_deployment, memory_of, sweep
from planner.timing.speed import Speed
from planner.timing.speed_grid import GpuGrid

MOST_USERS = 32
USER_STEPS = 32
"""Headroom is looked for up to so many times the users asked for, in so many steps."""


def search(
    model: Model,
    offers: Sequence[Offer],
    speed: Callable[[Gpu], Speed],
    target: Target,
    space: Space | None = None,
) -> Found:
    """Everything in `space` tried on every offer. Raises PlanRefused as checked() does."""
    note = checked(model, offers, target)
    chosen = space or Space()
    found = search_part(model, offers, speed, target, chosen, deployments(model, chosen))
    return merged([found], note)


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
) -> Found:
    """The same for some deployments only, without ranking: parts of a search run anywhere."""
    chosen = _Formats(model, offers, speed)
    users = user_steps(target.concurrency)
    found: list[Candidate] = []
    refusals: list[Refusal] = []
    points = 0
    for deployment in part:
        try:
            groups = chosen.groups(deployment)
        except PlanRefused as error:
            refusals.append(Refusal(deployment, str(error)))
            continue
        for group in groups:
            try:
                candidates = group.candidates(model, deployment, target, users, space.chunk_tokens)
            except PlanRefused as error:
                refusals.append(Refusal(deployment, str(error)))
                break
            points += len(group.offers) * len(space.chunk_tokens) * len(users)
            found += candidates
    winners = tuple(c for c in found if c.lost is None)
    losers = tuple(c for c in found if c.lost is not None)
    unsupported = tuple(sorted(chosen.unsupported))
    return Found(target, winners, (), losers, tuple(refusals), points, unsupported)


def merged(parts: Sequence[Found], note: str | None = None) -> Found:
    """Parts of one search as one answer, ranked. Raises PlanRefused if nothing was possible."""
    refusals = tuple(r for part in parts for r in part.refusals)
    unsupported = tuple(sorted({reason for part in parts for reason in part.unsupported}))
    reasons = (*(refusal.reason for refusal in refusals), *unsupported)
    if reasons and not any(part.winners or part.losers for part in parts):
        raise PlanRefused(reasons[0])
    winners = sorted((c for part in parts for c in part.winners), key=rank)
    losers = sorted((c for part in parts for c in part.losers), key=lambda c: (c.excess, rank(c)))
    return Found(
        target=parts[0].target,
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


@dataclass(frozen=True)
class _Group:
    """Offers whose GPUs share efficiencies and overheads, so that one compilation serves all."""

    offers: tuple[Offer, ...]
    grid: GpuGrid
    sm_counts: Ints
    memory_bytes: Ints
    weights: str
    cache: str

    def candidates(
        self, model: Model, deployment: Deployment, target: Target, users: Ints,
        chunk_tokens: tuple[int, ...],
    ) -> list[Candidate]:  # fmt: skip
        gpu = self.offers[0].gpu
        room = self.memory_bytes[:, None, None]
        used = memory_of(model, gpu, deployment, target, users, chunk_tokens, self.sm_counts)
        if (used[:, :, :1] > room).all():
            least = used[:, :, 0].argmin(axis=1)
            return [
                self._too_large(i, int(k), deployment, used, chunk_tokens)
                for i, k in enumerate(least)
            ]
        compiled = compile_deployment(model, deployment, target, users, chunk_tokens)
        return self._judged(compiled, used)

    def _too_large(
        self, i: int, k: int, deployment: Deployment, used: Ints, chunk_tokens: tuple[int, ...]
    ) -> Candidate:
        size = int(used[i, k, 0])
        chosen = deployment.replace(max_num_batched_tokens=chunk_tokens[k])
        return Candidate(
            self.offers[i], chosen, self.weights, self.cache, size,
            "memory", size / self.offers[i].gpu.memory_bytes, 0,
        )  # fmt: skip

    def _judged(self, compiled: Compiled, used: Ints) -> list[Candidate]:
        """The best chunk size of every GPU: most users, then fastest; or nearest to the target."""
        swept = sweep(compiled, self.grid)
        target, load = compiled.target, swept.load
        shape = used.shape
        over = {
            "memory": used / self.memory_bytes[:, None, None],
            "ttft": np.broadcast_to(load.ttft_p95_s / (target.ttft_p95_s or np.inf), shape),
            "tpot": np.broadcast_to(load.tpot_s / (target.tpot_s or np.inf), shape),
        }
        worst = np.maximum.reduce(list(over.values()))
        served = np.logical_and.accumulate(worst <= 1, axis=2).sum(axis=2)
        rates = load.requests_per_s * compiled.users / compiled.sequences
        sizes = {
            int(size): compiled.deployment.replace(max_num_batched_tokens=int(size))
            for size in compiled.chunk_tokens
        }
        found = []
        for i, offer in enumerate(self.offers):
            order = np.lexsort((load.tpot_s[i, :, 0], worst[i, :, 0].clip(1), -served[i]))
            k = int(order[0])
            first = next((reason for reason in REASONS if over[reason][i, k, 0] > 1), None)
            found.append(
                Candidate(
                    offer=offer,
                    deployment=sizes[int(compiled.chunk_tokens[k])],
                    weights=self.weights,
                    cache=self.cache,
                    total_bytes=int(used[i, k, 0]),
                    lost=first,
                    excess=float(worst[i, k, 0]),
                    users=int(compiled.users[served[i, k] - 1]) if served[i, k] else 0,
                    users_open=int(served[i, k]) == len(compiled.users),
                    ttft_s=float(swept.prefill_s[i, k, 0]),
                    ttft_p95_s=float(load.ttft_p95_s[i, k, 0]),
                    tpot_s=float(load.tpot_s[i, k, 0]),
                    requests_per_s=float(rates[i, k, 0]),
                    prefill_share=float(load.prefill_share[i, k, 0]),
                )
            )
        return found


class _Formats:
    """The groups that have kernels for a deployment's formats; unsupported: why others have none.

    Formats follow the names of weights and cache, whatever the layout.
    """

    def __init__(
        self, model: Model, offers: Sequence[Offer], speed: Callable[[Gpu], Speed]
    ) -> None:
        self.model, self.offers, self.speed = model, offers, speed
        self.unsupported: set[str] = set()
        self._known: dict[tuple[str, str], list[_Group]] = {}

    def groups(self, deployment: Deployment) -> list[_Group]:
        """Raises PlanRefused for a name that is no format, or does not suit the model."""
        names = (deployment.weights_dtype, deployment.kv_cache_dtype)
        if names not in self._known:
            weights = tuple(assign(self.model, names[0]).bytes_by_format())
            cache = kv_format(names[1], self.model.dtype).name
            reasons = {o.gpu.id: missing(o.gpu, weights, cache) for o in self.offers}
            self.unsupported |= {reason for reason in reasons.values() if reason is not None}
            able = [offer for offer in self.offers if reasons[offer.gpu.id] is None]
            self._known[names] = _groups(able, self.speed, weights[0], cache)
        return self._known[names]


def _groups(
    offers: Sequence[Offer], speed: Callable[[Gpu], Speed], weights: str, cache: str
) -> list[_Group]:
    alike: dict[tuple[int, int], list[tuple[Offer, Speed]]] = {}
    for offer in offers:
        try:
            found = speed(offer.gpu)
        except PlanRefused:
            continue
        key = (id(found.efficiencies), id(offer.gpu.calibration))
        alike.setdefault(key, []).append((offer, found))
    return [
        _Group(
            tuple(offer for offer, _ in pairs),
            GpuGrid([offer.gpu for offer, _ in pairs], [found for _, found in pairs]),
            np.asarray([o.gpu.sm_count or DEFAULT_SM_COUNT for o, _ in pairs], dtype=np.int64),
            np.asarray([o.gpu.memory_bytes for o, _ in pairs], dtype=np.int64),
            weights,
            cache,
        )
        for pairs in alike.values()
    ]
