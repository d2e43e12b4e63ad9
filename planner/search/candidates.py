"""What a search finds: candidates that meet the target, and what each of the others misses."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from planner.cost import Cost, cost
from planner.deployment import Deployment
from planner.offer import Offer
from planner.search.space import SERVING, SPEED_ASSUMED, Target
from planner.timing.speed import Basis

Reason = Literal["memory", "ttft", "tpot"]
REASONS: tuple[Reason, ...] = ("memory", "ttft", "tpot")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One deployment on one GPU with its best chunk size; lost: what it misses first, or None.

    engine: whose rule memory follows, "ideal" for bytes alone. basis: where the card's efficiency
    is from; time_low, time_high: the range around times, as their multiples. weights, cache: the
    formats that most weights, and the cache, are stored in, whatever "auto" stands for. Memory in
    bytes of the fullest GPU: total_bytes are needed of the budget_bytes that the engine allows
    itself, and admitted sequences of a replica run at once. users: the most that the target still
    holds for, of those tried; users_open: none of those tried was too many. excess: how far beyond
    its limit the figure that lost is, 1.2 for 20 %. Times are None where memory alone ruled it
    out.

    prompts: where prompts have replicas of their own, of which so many; deployment is then that of
    the answers. alone_s, alone_chunk: a prompt's time at its best chunk size; step_s: a step of
    all users with no prompt beside it.
    """

    offer: Offer
    deployment: Deployment
    engine: str
    basis: Basis
    time_low: float
    time_high: float
    weights: str
    cache: str
    total_bytes: int
    budget_bytes: int
    admitted: int
    lost: Reason | None
    excess: float
    users: int
    users_open: bool = False
    ttft_s: float | None = None
    ttft_p95_s: float | None = None
    tpot_s: float | None = None
    requests_per_s: float | None = None
    prefill_share: float | None = None
    step_s: float | None = None
    alone_s: float | None = None
    alone_chunk: int | None = None
    prompts: Deployment | None = None
    prompt_replicas: int = 0
    transfer_s: float | None = None

    @property
    def gpus(self) -> int:
        """All of them, those for prompts too."""
        apart = 0 if self.prompts is None else self.prompt_replicas * self.prompts.gpus
        return self.deployment.gpus + apart

    @property
    def usd_per_hour(self) -> float:
        return self.offer.usd_per_hour(self.gpus)

    @property
    def speed_assumed(self) -> bool:
        """Whether its times are those of other engines' kernels."""
        return self.engine in SPEED_ASSUMED

    @property
    def headroom_bytes(self) -> int:
        """What the engine's budget has left; negative where memory is short."""
        return self.budget_bytes - self.total_bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """A deployment that the model's shapes or formats do not allow, and why."""

    deployment: Deployment
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """winners: cheapest first, but after all others those whose speed was assumed. frontier:
    winners that no other beats in cost, TPOT and users at once, of which none has an assumed speed
    where any winner has another. losers: everything else that was possible, nearest to the target
    first. unsupported: formats that a card has no kernels for, which were not tried on it. note: a
    context beyond the model's stated positions.
    """

    target: Target
    winners: tuple[Candidate, ...]
    frontier: tuple[Candidate, ...]
    losers: tuple[Candidate, ...]
    refusals: tuple[Refusal, ...]
    points: int
    unsupported: tuple[str, ...] = ()
    note: str | None = None

    @property
    def nearest_losers(self) -> tuple[Candidate, ...]:
        """Of each GPU that cannot serve the target, its nearest try."""
        served = {winner.offer.gpu.id for winner in self.winners}
        first: dict[str, Candidate] = {}
        for loser in self.losers:
            if loser.offer.gpu.id not in served:
                first.setdefault(loser.offer.gpu.id, loser)
        return tuple(first.values())

    def dearer(self, shown: Sequence[Candidate]) -> tuple[tuple[Candidate, Candidate], ...]:
        """Of each GPU that meets the target but is not among `shown`, its cheapest winner, and the
        cheapest of all."""
        seen = {candidate.offer.gpu.id for candidate in shown}
        first: dict[str, tuple[Candidate, Candidate]] = {}
        for winner in self.winners:
            if winner.offer.gpu.id not in seen:
                first.setdefault(winner.offer.gpu.id, (winner, self.winners[0]))
        return tuple(first.values())

    @property
    def engine_steps(self) -> tuple[Candidate, ...]:
        """The cheapest winner of every engine, cheapest first."""
        first: dict[str, Candidate] = {}
        for winner in self.winners:
            first.setdefault(winner.engine, winner)
        return tuple(first.values())

    @property
    def quality_steps(self) -> tuple[Candidate, ...]:
        """The cheapest winner of every pair of formats, cheapest first: what better costs."""
        first: dict[tuple[str, str], Candidate] = {}
        for winner in self.winners:
            kept = (winner.deployment.weights_dtype, winner.deployment.kv_cache_dtype)
            first.setdefault(kept, winner)
        return tuple(first.values())


def distance(candidate: Candidate) -> tuple[Any, ...]:
    """Order of losers, the nearest first: those that memory holds by how far times miss, then the
    others by how many times their memory they need; times mean nothing there."""
    if candidate.lost != "memory":
        return (0, candidate.excess, rank(candidate))
    return (1, candidate.total_bytes / max(1, candidate.budget_bytes), rank(candidate))


def order(candidate: Candidate) -> tuple[Any, ...]:
    """Order of winners: rank, after those whose speed is known."""
    return (candidate.speed_assumed, *rank(candidate))


def rank(candidate: Candidate) -> tuple[Any, ...]:
    """Order of equals: cost, the model's own formats, speed, the engine, then names, so that runs
    agree."""
    deployment = candidate.deployment
    converted = (deployment.weights_dtype != "auto") + (deployment.kv_cache_dtype != "auto")
    engine = candidate.engine
    return (
        candidate.usd_per_hour,
        converted,
        candidate.tpot_s or 0.0,
        SERVING.index(engine) if engine in SERVING else -1,
        candidate.offer.gpu.id,
        candidate.offer.lot,
        deployment.tensor_parallel_size,
        deployment.pipeline_parallel_size,
        deployment.data_parallel_size,
        deployment.decode_context_parallel_size,
        deployment.context_parallel_size,
        deployment.enable_expert_parallel,
        deployment.weights_dtype,
        deployment.kv_cache_dtype,
        candidate.prompt_replicas,
        candidate.prompts is not None and candidate.prompts.tensor_parallel_size,
    )


def pareto(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Candidates that no other beats or equals in cost, TPOT and users while beating it in one.

    Speed that was assumed beats nothing.
    """
    known = [c for c in candidates if not c.speed_assumed] or candidates
    kept: list[Candidate] = []
    for mine in sorted(known, key=lambda c: (c.usd_per_hour, c.tpot_s or 0.0, -c.users)):
        if not any((k.tpot_s or 0.0) <= (mine.tpot_s or 0.0) and k.users >= mine.users
                   for k in kept):  # fmt: skip
            kept.append(mine)
    return tuple(kept)


def candidate_cost(candidate: Candidate, target: Target) -> Cost:
    """What a winner costs per hour and per token at the target's load, at the board's limit."""
    return cost(
        usd_per_hour=candidate.usd_per_hour,
        gpus=candidate.gpus,
        requests_per_s=candidate.requests_per_s or 0.0,
        prompt_tokens=target.request.prompt_tokens,
        output_tokens=target.request.output_tokens,
        prefill_share=candidate.prefill_share or 0.0,
        watts_per_gpu=candidate.offer.gpu.tdp_w,
    )
