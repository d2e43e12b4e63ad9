"""Prompts and answers on GPUs of their own, out of what a search found for each alone.

A prompt's replica computes prompts only, so its time is that of a prompt alone; the replicas that
answer take all users with no prompt beside them. The hand-over crosses the network, as it does in
timing.disaggregation, whose figures these are.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from planner.formats.dtypes import kv_format
from planner.kv_cache import cache_terms, state_bytes, whole
from planner.memo import memo
from planner.model import Model
from planner.run_dtype import as_run
from planner.search.candidates import Candidate, Reason
from planner.search.hand_over import hands_over
from planner.search.space import Target
from planner.timing.collectives import link_between, send_s
from planner.timing.disaggregation import BUSIEST
from planner.timing.steady import waiting

Floats = NDArray[np.float64]
LIMITS: tuple[Reason, ...] = ("ttft", "tpot")
WITHOUT = ("llama.cpp", "tensorrt-llm")
"""Engines that hand no cache over, or need a file beside the command to do it
(cache_transceiver_config)."""


def apart(
    found: Iterable[Candidate], target: Target, model: Model, max_gpus: int
) -> list[Candidate]:
    """Of every offer, engine and pair of formats the cheapest pair of pools that meets the target,
    else the nearest to it."""
    alike: dict[tuple[object, ...], list[Candidate]] = {}
    for one in found:
        if one.step_s is not None and one.engine not in WITHOUT:
            formats = (one.deployment.weights_dtype, one.deployment.kv_cache_dtype)
            key = (one.offer.gpu.id, one.offer.lot, one.offer.usd_per_gpu_hour, one.engine)
            alike.setdefault((*key, *formats), []).append(one)
    return [pair for group in alike.values() for pair in _best(group, target, model, max_gpus)]


def _best(
    group: Sequence[Candidate], target: Target, model: Model, max_gpus: int
) -> Iterator[Candidate]:
    asked = target.concurrency
    computing = [
        c for c in group
        if c.deployment.data_parallel_size == 1 and np.isfinite(c.alone_s or np.inf)
    ]  # fmt: skip
    answering = [
        c for c in group
        if c.admitted >= -(-asked // c.deployment.data_parallel_size)
    ]  # fmt: skip
    if not computing or not answering:
        return
    prompt = np.asarray([c.alone_s or 0.0 for c in computing])[:, None]
    each = np.asarray([c.deployment.gpus for c in computing])[:, None]
    step = np.asarray([c.step_s or 0.0 for c in answering])[None, :]
    held = np.asarray([c.deployment.gpus for c in answering])[None, :]
    sent = np.asarray([transfer_s(model, c, target.request.prompt_tokens) for c in answering])
    rate = asked / (prompt + sent + target.request.output_tokens * step)
    replicas = np.clip(-np.floor_divide(-(rate * prompt), BUSIEST), 1, asked)
    busy = rate * prompt / replicas
    ttft = prompt * (1 + np.minimum(asked - 1, waiting(busy))) + sent
    gpus = np.broadcast_to(replicas * each + held, ttft.shape)
    over: dict[Reason, Floats] = {
        "ttft": ttft / (target.ttft_p95_s or np.inf),
        "tpot": np.broadcast_to(step / (target.tpot_s or np.inf), ttft.shape),
    }
    excess = np.maximum.reduce(list(over.values()))
    joined = [
        [hands_over(c.engine, model, c.deployment, a.deployment) for a in answering]
        for c in computing
    ]
    excess = np.where((gpus <= max_gpus) & np.asarray(joined), excess, np.inf)
    if not np.isfinite(excess).any():
        return
    best = np.lexsort((ttft.ravel(), gpus.ravel(), excess.clip(1).ravel()))[0]
    i, j = np.unravel_index(best, excess.shape)
    first, then = computing[int(i)], answering[int(j)]
    lost = next((name for name in LIMITS if over[name][i, j] > 1), None)
    yield replace(
        then,
        prompts=first.deployment.replace(max_num_batched_tokens=first.alone_chunk),
        prompt_replicas=int(replicas[i, j]),
        transfer_s=float(sent[j]),
        lost=lost,
        excess=float(excess[i, j]),
        users=0 if lost else asked,
        users_open=False,
        ttft_s=float(prompt[i, 0] + sent[j]),
        ttft_p95_s=float(ttft[i, j]),
        tpot_s=float(step[0, j]),
        requests_per_s=float(rate[i, j]),
        prefill_share=float(replicas[i, j] * each[i, 0] / gpus[i, j]),  # paid for while they wait
    )


def transfer_s(model: Model, answering: Candidate, prompt_tokens: int) -> float:
    """A prompt's cache over the network, every rank of the replica receiving its part."""
    deployment, gpu = answering.deployment, answering.offer.gpu
    run = as_run(model, deployment.weights_dtype)
    size = _stored(run, deployment.kv_cache_dtype, prompt_tokens)
    ranks = deployment.tensor_parallel_size * deployment.pipeline_parallel_size
    return float(send_s(size / ranks, link_between(gpu, gpu.joined_gpus + 1)))


@memo(maxsize=64)
def _stored(model: Model, kv_cache_dtype: str, tokens: int) -> int:
    """Cache and states of so many tokens of the whole model."""
    terms = cache_terms(whole(model), kv_format(kv_cache_dtype, model.own_cache))
    return state_bytes(whole(model), model.dtype) + sum(term.bytes(tokens) for term in terms)
