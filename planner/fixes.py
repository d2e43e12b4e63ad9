"""When a plan does not fit: changes that each alone make it fit, the least intrusive first.

None defeats the job: fewer sequences at once let the others wait, be it one that is served at a
time, and a shorter context keeps `Workload.least_context`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.capacity import (
    fewest_cache_parts,
    fewest_gpus,
    largest_chunk,
    mildest_kv_cache,
    mildest_weights,
)
from planner.deployment import Deployment
from planner.plan import Plan
from planner.units import format_tokens
from planner.workload import Workload

MOST = 3


@dataclass(frozen=True, slots=True)
class Fix:
    """One change that makes the plan fit, with the inputs that result."""

    sentence: str
    deployment: Deployment
    workload: Workload


def fixes(plan: Plan) -> tuple[Fix, ...]:
    """Up to three fixes for a plan that does not fit; none for one that does."""
    if plan.fits:
        return ()
    harsh = ("int4", "nvfp4")
    mild_first = sorted(_candidates(plan), key=lambda fix: any(h in fix.sentence for h in harsh))
    return tuple(mild_first[:MOST])


def _candidates(plan: Plan) -> Iterator[Fix]:
    model, gpu, deployment, work = plan.model, plan.gpu, plan.deployment, plan.workload
    chunk = largest_chunk(model, gpu, deployment, work)
    if chunk is not None:
        fewer = deployment.replace(max_num_batched_tokens=chunk)
        yield Fix(f"read prompts in chunks of {chunk:,} tokens", fewer, work)
    split = fewest_cache_parts(model, gpu, deployment, work)
    if split is not None:
        parts = split.decode_context_parallel_size
        yield Fix(f"split the cache {parts} ways (decode context parallel {parts})", split, work)
    kv = mildest_kv_cache(model, gpu, deployment, work)
    if kv is not None and kv != deployment.kv_cache_dtype:
        yield Fix(f"store the KV cache as {kv}", deployment.replace(kv_cache_dtype=kv), work)
    weights = mildest_weights(model, gpu, deployment, work)
    if weights is not None and weights != deployment.weights_dtype:
        yield Fix(
            f"store the weights as {weights}", deployment.replace(weights_dtype=weights), work
        )
    spread = fewest_gpus(model, gpu, deployment, work)
    if spread is not None and spread.gpus > deployment.gpus:
        apart = ", each in a machine of its own" if gpu.joined_gpus == 1 else ""
        yield Fix(f"use {spread.gpus} GPUs ({layout(spread)}){apart}", spread, work)
    users = plan.max_concurrency
    if users:
        replaced = Workload(**{**work.model_dump(), "concurrency": users})
        yield Fix(
            f"serve {format_tokens(users)} at once, while the others wait", deployment, replaced
        )
    tokens = plan.max_context_tokens
    if tokens and tokens >= work.least_context:
        cut = Workload(**{**work.model_dump(), "context": tokens})
        yield Fix(f"limit the context to {format_tokens(tokens)} tokens", deployment, cut)


def layout(deployment: Deployment) -> str:
    """How the GPUs are used: 'tensor parallel 8, 2 pipeline stages'."""
    text = f"tensor parallel {deployment.tensor_parallel_size}"
    stages = deployment.pipeline_parallel_size
    if stages == 1:
        return text
    words = f"{stages} pipeline stages"
    return words if deployment.tensor_parallel_size == 1 else f"{text}, {words}"
