"""How fast a deployment is: time to first token, time per output token, and what binds them.

    asked = Request(prompt_tokens=8192, output_tokens=1024)
    found = latency(model, gpu, deployment, speed, asked, users=50)
    found.ttft.seconds, found.tpot.seconds, found.load.ttft_p95_s

A pass takes the sum over its launches of the larger of arithmetic and memory traffic, at the
efficiency measured for that kernel and size, plus what the links take. Every time has a range.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

from pydantic import Field, model_validator

from planner.calibration import Roofs
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.timing.collectives import link_between
from planner.timing.passes import (
    PROMPT_LAUNCH_RANGE_S,
    PROMPT_LAUNCH_S,
    DecodePass,
    PrefillPass,
    StagePass,
    Timer,
    decode_pass,
    packed_pass,
    prefill_pass,
    prompts_together,
)
from planner.timing.roofline import Costs, ideal_s, time_s
from planner.timing.speed import Speed
from planner.timing.steady import Load, steady_load
from planner.units import ceil_div
from planner.workload import MAX_TOKENS

CAUSES = ("arithmetic", "weights", "kv_cache", "activations", "launches", "links")
LAUNCH_S = 20e-6
"""Host time of one launch without CUDA graphs, which a fast GPU waits for: an estimate."""
SERVER = (
    "Not in them is what a server does around the GPU: tokenising a prompt (about 2 ms per 1,000 "
    "tokens), HTTP, and queues between its processes."
)
"""Tokenising: 100,000 tokens in 220 ms in vLLM 0.19 (andyluo7.github.io, 2026-05-14)."""


class Request(Frozen):
    """One request: its prompt, of which cached_tokens are in the prefix cache, and its answer."""

    prompt_tokens: int = Field(default=8192, ge=1, le=MAX_TOKENS)
    output_tokens: int = Field(default=1024, ge=1, le=MAX_TOKENS)
    cached_tokens: int = Field(default=0, ge=0, le=MAX_TOKENS)

    @model_validator(mode="after")
    def cached_part_of_prompt(self) -> Self:
        if self.cached_tokens > self.prompt_tokens:
            raise PlanRefused(
                f"cached_tokens {self.cached_tokens:,} is more than the prompt's "
                f"{self.prompt_tokens:,} tokens"
            )
        return self

    @property
    def context(self) -> int:
        """Tokens at its end, which memory must hold."""
        return self.prompt_tokens + self.output_tokens

    @property
    def mean_context(self) -> int:
        """Tokens that an average decode step reads."""
        return self.prompt_tokens + self.output_tokens // 2

    @property
    def computed_tokens(self) -> int:
        """Prompt tokens that are not found in the prefix cache; always at least the last one."""
        return self.prompt_tokens - min(self.cached_tokens, self.prompt_tokens - 1)


@dataclass(frozen=True, slots=True)
class Time:
    """A duration, its range, and what it goes into.

    bound_s: what the roofs alone allow. flops and moved_bytes: of one GPU's work. shares: parts of
    `seconds` by cause (arithmetic, weights, kv_cache, activations, launches, links), sum 1;
    launches is the time above the roofs.
    """

    seconds: float
    low_s: float
    high_s: float
    bound_s: float
    flops: float
    moved_bytes: float
    shares: dict[str, float]

    @property
    def binds(self) -> str:
        """The cause of most of it."""
        return max(self.shares, key=lambda name: self.shares[name])


@dataclass(frozen=True)
class Latency:
    """One deployment at `users` users. ttft and tpot: a prompt alone, and a step of all users.

    load: both under steady load, where prompts and answers share the GPU.
    """

    gpu: Gpu
    deployment: Deployment
    speed: Speed
    request: Request
    users: int
    ttft: Time
    tpot: Time
    load: Load

    @cached_property
    def requests_per_s(self) -> float:
        """Of all replicas together."""
        rate: float = self.load.requests_per_s * self.users / self.users_per_replica
        return rate

    @property
    def users_per_replica(self) -> int:
        return ceil_div(self.users, self.deployment.data_parallel_size)

    @property
    def output_tokens_per_s(self) -> float:
        return self.requests_per_s * self.request.output_tokens

    @property
    def output_tokens_per_s_per_gpu(self) -> float:
        return self.output_tokens_per_s / self.deployment.gpus

    @property
    def mfu_prefill(self) -> float | None:
        """Part of the published 16-bit peak that a prompt's arithmetic uses."""
        return _part(self.ttft.flops / self.ttft.seconds, self.gpu.bf16_flops_per_s)

    @property
    def mfu_decode(self) -> float | None:
        return _part(self.tpot.flops / self.tpot.seconds, self.gpu.bf16_flops_per_s)

    @property
    def mbu_decode(self) -> float | None:
        """Part of the published memory bandwidth that a decode step uses."""
        bandwidth = self.gpu.memory_bandwidth_bytes_per_s
        return _part(self.tpot.moved_bytes / self.tpot.seconds, bandwidth)

    @property
    def ridge_flops_per_byte(self) -> float:
        """Arithmetic intensity from which 16-bit arithmetic binds, with the roofs in use."""
        roofs = self.speed.roofs
        return roofs.flops_per_s("bf16") / roofs.read_bytes_per_s

    @property
    def intensity_decode(self) -> float:
        return self.tpot.flops / self.tpot.moved_bytes


def _part(rate: float, peak: int | None) -> float | None:
    return None if peak is None else rate / peak


def timer(gpu: Gpu, deployment: Deployment, speed: Speed, *, bound: bool = False) -> Timer:
    """Times of one deployment's passes; bound: what the roofs alone allow.

    Without CUDA graphs a pass takes at least the host's time for its launches.
    """

    def kernels_s(costs: Costs) -> float:
        if bound:
            return time_s(costs, speed.roofs)
        found = time_s(costs, speed.roofs, speed.efficiencies)
        return max(found, costs.launches * LAUNCH_S) if deployment.enforce_eager else found

    launch_s = 0.0 if bound else PROMPT_LAUNCH_S
    return Timer(kernels_s, lambda ranks: link_between(gpu, ranks), launch_s)


def latency(
    model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, request: Request, users: int
) -> Latency:
    """The Latency of `users` users, spread evenly over the deployment's replicas.

    Raises PlanRefused where no rate of the GPU is known, or formats do not suit the model.
    """
    clock = timer(gpu, deployment, speed)
    sequences = ceil_div(users, deployment.data_parallel_size)
    prefill = prefill_pass(model, deployment, request.prompt_tokens, request.cached_tokens)
    decode = decode_pass(model, deployment, sequences, request.mean_context)
    ttft = prefill_time(prefill, gpu, deployment, speed)
    tpot = decode_time(decode, gpu, deployment, speed)
    together = prompts_together(request.computed_tokens, deployment.max_num_batched_tokens)
    packed = packed_pass(
        model, deployment, request.prompt_tokens, request.cached_tokens, together
    )  # fmt: skip
    load = steady_load(
        users=sequences,
        output_tokens=request.output_tokens,
        computed_tokens=request.computed_tokens,
        chunks=prefill.count,
        prefill_s=ttft.seconds,
        decode_s=tpot.seconds,
        cache_s=decode.attention_s(clock),
        together=together,
        together_s=packed.seconds(clock),
    )
    return Latency(gpu, deployment, speed, request, users, ttft, tpot, load)


def prefill_time(found: PrefillPass, gpu: Gpu, deployment: Deployment, speed: Speed) -> Time:
    """A prompt alone on a replica: TTFT without waiting."""
    passes = [(times, stage) for times, stages in found.chunks for stage in stages]
    both = (timer(gpu, deployment, speed), timer(gpu, deployment, speed, bound=True))
    return _time(found.seconds(both[0]), found.seconds(both[1]), passes, both[0], speed)


def decode_time(found: DecodePass, gpu: Gpu, deployment: Deployment, speed: Speed) -> Time:
    """One step of all sequences: TPOT while no prompt is computed."""
    passes = [(1.0, stage) for stage in found.stages]
    both = (timer(gpu, deployment, speed), timer(gpu, deployment, speed, bound=True))
    return _time(found.seconds(both[0]), found.seconds(both[1]), passes, both[0], speed)


def _time(
    seconds: float, bound: float, passes: list[tuple[float, StagePass]], clock: Timer, speed: Speed
) -> Time:
    causes: dict[str, float] = {}
    flops = moved = host = 0.0
    low, high = speed.low, speed.high
    for times, stage in passes:
        for name, part in _causes(stage, clock, speed.roofs).items():
            causes[name] = causes.get(name, 0.0) + times * part
        host += times * stage.launches * clock.launch_s
        costs = stage.costs
        flops += times * costs.flops
        moved += times * (costs.weight_bytes + costs.kv_bytes + costs.activation_bytes)
    total = sum(causes.values())
    shares = {name: part / total for name, part in causes.items()}
    ends = [clock.link(m.ranks) for _, stage in passes for m in stage.messages]
    if ends:
        low += shares["links"] * (min(end.low for end in ends) - low)
        high += shares["links"] * (max(end.high for end in ends) - high)
    least, most = (end / PROMPT_LAUNCH_S for end in PROMPT_LAUNCH_RANGE_S)
    low += host / total * (least - low)
    high += host / total * (most - high)
    return Time(seconds, seconds * low, seconds * high, bound, flops, moved, shares)


def _causes(stage: StagePass, clock: Timer, roofs: Roofs) -> dict[str, float]:
    found = dict.fromkeys(CAUSES, 0.0)
    ideal_total = 0.0
    for work in stage.costs.work:
        ideal, bound = ideal_s(work, roofs)
        ideal_total += work.launches * ideal
        if bound == "compute":
            found["arithmetic"] += work.launches * ideal
        else:
            found["weights"] += work.launches * work.weight_bytes / roofs.read_bytes_per_s
            found["kv_cache"] += work.launches * work.kv_bytes / roofs.read_bytes_per_s
            found["activations"] += work.launches * work.activation_bytes / roofs.copy_bytes_per_s
    found["launches"] = max(0.0, clock.kernels_s(stage.costs) - ideal_total)
    found["launches"] += stage.launches * clock.launch_s
    found["links"] = clock.links_s(stage.messages)
    if stage.ring:
        hidden = clock.kernels_s(stage.attention)
        found["links"] += max(0.0, clock.links_s(stage.ring) - hidden)
    return found
