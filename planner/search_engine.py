"""A candidate's engine asked by itself: its figures and the command that starts it."""

from collections.abc import Mapping
from typing import Any

from planner.admission.rules import rule_of
from planner.candidates import Candidate
from planner.engines.engine import EngineFigures
from planner.engines.registry import ENGINES
from planner.model import Model
from planner.search_space import IDEAL, Target
from planner.units import ceil_div
from planner.workload import Workload


def engine_figures(
    candidate: Candidate,
    target: Target,
    model: Model,
    *,
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> EngineFigures | None:
    """What `plan --engine` says of it with the options that the search took; None for bytes alone.

    name: the checkpoint's, for the command. Raises PlanRefused as the engine's figures do.
    """
    if candidate.engine == IDEAL:
        return None
    deployment, context = candidate.deployment, target.request.context
    sequences = ceil_div(target.concurrency, deployment.data_parallel_size)
    gpu = candidate.offer.gpu
    options = rule_of(candidate.engine, model, config).options(gpu, deployment, context, sequences)
    work = Workload(context=context, concurrency=target.concurrency)
    return ENGINES[candidate.engine].figures(
        model, gpu, deployment, options, work, config=config, name=name
    )
