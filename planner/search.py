"""Which hardware serves this model, at this load and speed, for the least money.

    found = search(model, offers, speed_of, Target(request=Request(), concurrency=50, tpot_s=0.04))
    found.winners[0].usd_per_hour, found.frontier, found.losers

Every GPU x count x layout x formats x chunk size is tried. What meets the target is ranked by
cost; what does not says why.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from planner.cost import Cost, cost
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.footprint import DEFAULT_SM_COUNT
from planner.hardware import Gpu
from planner.model import Model
from planner.search_space import Offer, Space, Target, deployments
from planner.search_sweep import Compiled, Ints, compile_deployment, memory_of, sweep
from planner.speed import Speed
from planner.speed_grid import GpuGrid

Reason = Literal["memory", "ttft", "tpot"]
REASONS: tuple[Reason, ...] = ("memory", "ttft", "tpot")
MOST_USERS = 32
USER_STEPS = 32
"""Headroom is looked for up to so many times the users asked for, in so many steps."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment on one GPU with its best chunk size; lost: what it misses first, or None.

    Memory in bytes of the fullest GPU. users: the most that the target still holds for, of those
    tried. excess: how far beyond its limit the figure that lost is, 1.2 for 20 %. Times are None
    where memory alone ruled it out.
    """

    offer: Offer
    deployment: Deployment
    total_bytes: int
    lost: Reason | None
    excess: float
    users: int
    ttft_s: float | None = None
    ttft_p95_s: float | None = None
    tpot_s: float | None = None
    requests_per_s: float | None = None
    prefill_share: float | None = None

    @property
    def usd_per_hour(self) -> float:
        return self.offer.usd_per_hour(self.deployment.gpus)

    @property
    def headroom_bytes(self) -> int:
        return self.offer.gpu.memory_bytes - self.total_bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A deployment that the model's shapes or formats do not allow, and why."""

    deployment: Deployment
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """winners: cheapest first. frontier: winners that no other beats in cost, TPOT and users at
    once. losers: everything else that was possible, nearest to the target first.
    """

    target: Target
    winners: tuple[Candidate, ...]
    frontier: tuple[Candidate, ...]
    losers: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    points: int

    @property
    def nearest_losers(self) -> tuple[Candidate, ...]:
        """Of each GPU that cannot serve the target, its nearest try."""
        served = {winner.offer.gpu.id for winner in self.winners}
        first: dict[str, Candidate] = {}
        for loser in self.losers:
            if loser.offer.gpu.id not in served:
                first.setdefault(loser.offer.gpu.id, loser)
        return tuple(first.values())

    @property
    def quality_steps(self) -> tuple[Candidate, ...]:
        """The cheapest winner of every pair of formats, cheapest first: what better costs."""
        first: dict[tuple[str, str], Candidate] = {}
        for winner in self.winners:
            kept = (winner.deployment.weights_dtype, winner.deployment.kv_cache_dtype)
            first.setdefault(kept, winner)
        return tuple(first.values())


def search(
    model: Model,
    offers: Sequence[Offer],
    speed: Callable[[Gpu], Speed],
    target: Target,
    space: Space | None = None,
) -> Found:
    """Everything in `space` tried on every offer. Raises PlanRefused when there is no offer."""
    if not offers:
        raise PlanRefused("no GPU with a known price is left to search: name others or give prices")
    chosen = space or Space()
    found = search_part(model, offers, speed, target, chosen, deployments(model, chosen))
    return merged([found])


def search_part(
    model: Model,
    offers: Sequence[Offer],
    speed: Callable[[Gpu], Speed],
    target: Target,
    space: Space,
    part: Iterable[Deployment],
) -> Found:
    """The same for some deployments only, without ranking: parts of a search run anywhere."""
    groups = _groups(offers, speed)
    users = user_steps(target.concurrency)
    found: list[Candidate] = []
    refusals: list[Refusal] = []
    points = 0
    for deployment in part:
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
    return Found(target, winners, (), losers, tuple(refusals), points)


def merged(parts: Sequence[Found]) -> Found:
    """Parts of one search as one answer, ranked. Raises PlanRefused if nothing was possible."""
    refusals = tuple(r for part in parts for r in part.refusals)
    if refusals and not any(part.winners or part.losers for part in parts):
        raise PlanRefused(refusals[0].reason)
    winners = sorted((c for part in parts for c in part.winners), key=rank)
    losers = sorted((c for part in parts for c in part.losers), key=lambda c: (c.excess, rank(c)))
    return Found(
        target=parts[0].target,
        winners=tuple(winners),
        frontier=pareto(winners),
        losers=tuple(losers),
        refusals=refusals,
        points=sum(part.points for part in parts),
    )


def rank(candidate: Candidate) -> tuple[float, float, str, str]:
    """Order of equals: cost, then speed, then names, so that two runs agree."""
    deployment = repr(candidate.deployment)
    return (candidate.usd_per_hour, candidate.tpot_s or 0.0, candidate.offer.gpu.id, deployment)


def pareto(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates that no other beats or equals in cost, TPOT and users while beating it in one."""
    kept: list[Candidate] = []
    for mine in sorted(candidates, key=lambda c: (c.usd_per_hour, c.tpot_s or 0.0, -c.users)):
        if not any((k.tpot_s or 0.0) <= (mine.tpot_s or 0.0) and k.users >= mine.users
                   for k in kept):  # fmt: skip
            kept.append(mine)
    return tuple(kept)


def user_steps(concurrency: int) -> Ints:
    """Numbers of users that are tried, from those asked for upwards."""
    steps = concurrency * np.geomspace(1, MOST_USERS, USER_STEPS)
    found: Ints = np.unique(np.ceil(steps - 1e-9).astype(np.int64))
    return found


def candidate_cost(candidate: Candidate, target: Target) -> Cost:
    """What a winner costs per hour and per token at the target's load, at the board's limit."""
    return cost(
        usd_per_gpu_hour=candidate.usd_per_hour / candidate.deployment.gpus,
        gpus=candidate.deployment.gpus,
        requests_per_s=candidate.requests_per_s or 0.0,
        prompt_tokens=target.request.prompt_tokens,
        output_tokens=target.request.output_tokens,
        prefill_share=candidate.prefill_share or 0.0,
        watts_per_gpu=candidate.offer.gpu.tdp_w,
    )


@dataclass(frozen=True)
class _Group:
    """Offers whose GPUs share efficiencies and overheads, so that one compilation serves all."""

    offers: tuple[Offer, ...]
    grid: GpuGrid
    sm_counts: Ints
    memory_bytes: Ints

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
            self.offers[i], chosen, size, "memory", size / self.offers[i].gpu.memory_bytes, 0
        )

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
                    total_bytes=int(used[i, k, 0]),
                    lost=first,
                    excess=float(worst[i, k, 0]),
                    users=int(compiled.users[served[i, k] - 1]) if served[i, k] else 0,
                    ttft_s=float(swept.prefill_s[i, k, 0]),
                    ttft_p95_s=float(load.ttft_p95_s[i, k, 0]),
                    tpot_s=float(load.tpot_s[i, k, 0]),
                    requests_per_s=float(rates[i, k, 0]),
                    prefill_share=float(load.prefill_share[i, k, 0]),
                )
            )
        return found


def _groups(offers: Sequence[Offer], speed: Callable[[Gpu], Speed]) -> list[_Group]:
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
        )
        for pairs in alike.values()
    ]
