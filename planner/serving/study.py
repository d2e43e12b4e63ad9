"""Many simulations of one model on one kind of GPU: replicas, layouts and arrivals side by side.

    rows = [run_case(setup, case) for case in cases]

Cases are independent of each other, so that they may run anywhere, in any order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from planner.deployment import Deployment
from planner.errors import SizewellError
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.serving.drafted_steps import Drafting
from planner.serving.engine_replica import engine_replica, figures_for
from planner.serving.metrics import Slo
from planner.serving.replica import Batching, Replica, Reserve, replica_of
from planner.serving.report import as_data, refusals
from planner.serving.requests import Request
from planner.serving.simulator import Router, simulate
from planner.timing.speed import Speed


@dataclass(frozen=True)
class Setup:
    """What all cases share. traffics: lists of requests in order of arrival."""

    model: Model
    gpu: Gpu
    speed: Speed
    slo: Slo
    traffics: tuple[tuple[Request, ...], ...]
    config: dict[str, Any] | None = None


@dataclass(frozen=True)
class Case:
    """One simulation. chosen: what distinguishes it, as it is printed. traffic: which of the
    setup's; its requests arrive `speedup` times as fast. options: the engine whose memory it is,
    with its flags, max_num_seqs and max_model_len among them; None: bytes alone. draft: what it
    loads to draft with."""

    chosen: tuple[tuple[str, str], ...]
    deployment: Deployment
    options: tuple[str, Frozen] | None = None
    max_num_seqs: int | None = None
    max_model_len: int | None = None
    prefix_caching: bool = True
    drafting: Drafting | None = None
    draft: Model | None = None
    reserve: Reserve = "paged"
    batching: Batching = "continuous"
    replicas: int = 1
    router: Router = "least_requests"
    traffic: int = 0
    speedup: float = 1.0


def replica_for(setup: Setup, case: Case, longest: int = 1) -> Replica:
    """The replica of a case, with its engine's memory.

    Raises PlanRefused where the engine would not start, with the flags with which it would for
    requests of `longest` tokens.
    """
    model, gpu, speed = setup.model, setup.gpu, setup.speed
    if case.options is None:
        one = replica_of(
            model, gpu, case.deployment, speed, max_num_seqs=case.max_num_seqs,
            max_model_len=case.max_model_len, prefix_caching=case.prefix_caching,
            drafting=case.drafting,
        )  # fmt: skip
    else:
        figures = figures_for(
            *case.options, model, gpu, case.deployment, setup.config, case.draft, longest=longest
        )
        one = engine_replica(
            figures, model, gpu, case.deployment, speed, config=setup.config,
            prefix_caching=case.prefix_caching, drafting=case.drafting,
        )  # fmt: skip
    return one.changed(reserve=case.reserve, batching=case.batching)


def run_case(setup: Setup, case: Case) -> dict[str, Any]:
    """The report of one simulation as data, with its GPUs; `refused` says why there is none."""
    found: dict[str, Any] = {"chosen": dict(case.chosen)}
    try:
        longest = max((request.tokens for request in setup.traffics[case.traffic]), default=1)
        replica = replica_for(setup, case, longest)
        requests = (
            replace(r, arrival_s=r.arrival_s / case.speedup) for r in setup.traffics[case.traffic]
        )
        result = simulate(
            requests, replica, replicas=case.replicas, router=case.router, slo=setup.slo
        )
    except SizewellError as error:
        return found | {"refused": str(error)}
    if not result.finished:
        return found | {"refused": refusals(result)}
    return found | {"gpus": case.replicas * case.deployment.gpus} | as_data(result)


def fewest_gpus(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Of those that hold the SLO, the one with fewest GPUs, then most goodput; None without any."""
    holding = [row for row in rows if "slo" in row and row["slo"]["holds"]]
    return min(holding, key=lambda row: (row["gpus"], -row["goodput_per_s"]), default=None)
