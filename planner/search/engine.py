"""A candidate's engine asked by itself: its figures and the command that starts it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.admission.rules import rule_of
from planner.engines.engine import EngineFigures
from planner.engines.registry import ENGINES
from planner.model import Model
from planner.search.candidates import Candidate
from planner.search.space import IDEAL, Target
from planner.units import ceil_div
from planner.workload import Workload

HANDS_OVER = {
    "vllm": "--kv-transfer-config "
    """'{"kv_connector":"NixlConnector","kv_role":"kv_both"}'""",
}
"""What a replica of its own for prompts needs on the command line, and one for answers."""


def commands(
    candidate: Candidate,
    target: Target,
    model: Model,
    *,
    config: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> tuple[tuple[str, str], ...]:
    """(what it serves, command): one of them, or those for prompts and for answers apart."""
    figures = engine_figures(candidate, target, model, config=config, name=name)
    if figures is None:
        return ()
    if candidate.prompts is None:
        return (("each slice" if _apart(candidate) else "", figures.start),)
    one = replace(candidate, deployment=candidate.prompts, prompts=None)
    single = target.model_copy(update={"concurrency": 1})
    first = engine_figures(one, single, model, config=config, name=name)
    assert first is not None
    return tuple(
        (what, f"{command} {_hands_over(candidate.engine, what)}".rstrip())
        for what, command in (("prompts", first.start), ("answers", figures.start))
    )


def _apart(candidate: Candidate) -> bool:
    """Whether every replica has a server of its own."""
    return candidate.offer.gpu.stands_alone and candidate.deployment.data_parallel_size > 1


def _hands_over(engine: str, what: str) -> str:
    if engine == "sglang":
        return f"--disaggregation-mode {'prefill' if what == 'prompts' else 'decode'}"
    return HANDS_OVER.get(engine, "")


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
