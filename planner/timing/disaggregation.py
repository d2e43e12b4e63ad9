"""Prefill and decode on GPUs of their own: how many of each, and what the hand-over costs.

    apart = disaggregate(model, gpu, prefill, decode, speed, request, users=50)
    apart.prefill_replicas, apart.decode_replicas, apart.ttft_p95_s, apart.tpot_s

Prompts no longer hold up answers; a prompt's cache is sent to the GPUs that answer it.
"""

from dataclasses import dataclass

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.footprint import footprint
from planner.hardware import Gpu
from planner.model import Model
from planner.plan import make_plan
from planner.timing.breakdown import timer
from planner.timing.collectives import link_between, send_s
from planner.timing.latency import Request
from planner.timing.passes import decode_pass, prefill_pass
from planner.timing.speed import Speed
from planner.timing.steady import waiting
from planner.units import ceil_div
from planner.workload import Workload

BUSIEST = 0.8
"""Prefill replicas are added until none is busier, up to one a user: beyond, waiting outweighs the
prompt itself."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Two pools that keep up with each other. transfer_s: one prompt's cache over the network."""

    prefill_replicas: int
    decode_replicas: int
    gpus: int
    users_per_decode_replica: int
    transfer_bytes: int
    transfer_s: float
    prefill_utilisation: float
    ttft_p95_s: float
    tpot_s: float
    requests_per_s: float


def disaggregate(
    model: Model,
    gpu: Gpu,
    prefill: Deployment,
    decode: Deployment,
    speed: Speed,
    request: Request,
    users: int,
) -> Apart:
    """Pools for `users` users: as few decode replicas as memory allows, then prefill to match.

    Raises PlanRefused where one decode replica cannot hold a single user.
    """
    work = Workload(context=request.context, concurrency=users)
    held = make_plan(model, gpu, decode, work).max_concurrency
    if held == 0:
        raise PlanRefused("a decode replica has no room for one request: give it more GPUs")
    replicas = 1 if held is None else ceil_div(users, held)
    each = ceil_div(users, replicas)
    tpot = float(
        decode_pass(model, decode, each, request.mean_context).seconds(timer(gpu, decode, speed))
    )
    alone = float(
        prefill_pass(model, prefill, request.prompt_tokens, request.cached_tokens).seconds(
            timer(gpu, prefill, speed)
        )
    )
    stored = footprint(model, gpu, decode)
    size = stored.state_bytes + sum(term.bytes(request.prompt_tokens) for term in stored.terms)
    ranks = decode.tensor_parallel_size * decode.pipeline_parallel_size
    transfer = float(send_s(size / ranks, link_between(gpu, gpu.joined_gpus + 1)))
    rate = users / (alone + transfer + request.output_tokens * tpot)
    pool = min(users, max(1, -int(-(rate * alone) // BUSIEST)))
    busy = rate * alone / pool
    return Apart(
        prefill_replicas=pool,
        decode_replicas=replicas,
        gpus=pool * prefill.gpus + replicas * decode.gpus,
        users_per_decode_replica=each,
        transfer_bytes=size,
        transfer_s=transfer,
        prefill_utilisation=busy,
        ttft_p95_s=alone * (1 + min(users - 1, float(waiting(busy)))) + transfer,
        tpot_s=tpot,
        requests_per_s=rate,
    )
