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

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.formats.dtypes import NAME_OF_DTYPE
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.run_dtype import as_run
from planner.timing.breakdown import Time, decode_time, prefill_time, timer
from planner.timing.passes import (
    decode_pass,
    packed_pass,
    prefill_pass,
    prompts_together,
)
from planner.timing.speed import Speed
from planner.timing.steady import Load, steady_load
from planner.units import ceil_div
from planner.workload import MAX_TOKENS

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


@dataclass(frozen=True)
class Latency:
    """One deployment at `users` users. ttft and tpot: a prompt alone, and a step of all users.

    load: both under steady load, where prompts and answers share the GPU. numbers: the arithmetic
    beside quantised matrices, whose peak utilisation is measured by.
    """

    gpu: Gpu
    deployment: Deployment
    speed: Speed
    request: Request
    users: int
    ttft: Time
    tpot: Time
    load: Load
    numbers: str

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
    def peak_flops_per_s(self) -> int | None:
        """Published, in 32 bits or in 16."""
        return self.gpu.fp32_flops_per_s if self.numbers == "fp32" else self.gpu.bf16_flops_per_s

    @property
    def reached_flops_per_s(self) -> float:
        return self.speed.roofs.flops_per_s("fp32" if self.numbers == "fp32" else "bf16")

    @property
    def mfu_prefill(self) -> float | None:
        """Part of the published peak that a prompt's arithmetic uses."""
        return _part(self.ttft.flops / self.ttft.seconds, self.peak_flops_per_s)

    @property
    def mfu_decode(self) -> float | None:
        return _part(self.tpot.flops / self.tpot.seconds, self.peak_flops_per_s)

    @property
    def mbu_decode(self) -> float | None:
        """Part of the published memory bandwidth that a decode step uses."""
        bandwidth = self.gpu.memory_bandwidth_bytes_per_s
        return _part(self.tpot.moved_bytes / self.tpot.seconds, bandwidth)

    @property
    def ridge_flops_per_byte(self) -> float:
        """Arithmetic intensity from which arithmetic binds, with the roofs in use."""
        return self.reached_flops_per_s / self.speed.roofs.read_bytes_per_s

    @property
    def intensity_decode(self) -> float:
        return self.tpot.flops / self.tpot.moved_bytes


def _part(rate: float, peak: int | None) -> float | None:
    return None if peak is None else rate / peak


def latency(
    model: Model, gpu: Gpu, deployment: Deployment, speed: Speed, request: Request, users: int
) -> Latency:
    """The Latency of `users` users, spread evenly over the deployment's replicas.

    Raises PlanRefused where no rate of the GPU is known, or formats do not suit the model.
    """
    model = as_run(model, deployment.weights_dtype)
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
        prefill_s=prefill.service_s(clock),
        decode_s=tpot.seconds,
        cache_s=decode.attention_s(clock),
        together=together,
        together_s=packed.service_s(clock),
        stages=deployment.pipeline_parallel_size,
        alone_s=ttft.seconds,
    )
    numbers = NAME_OF_DTYPE[model.dtype]
    return Latency(gpu, deployment, speed, request, users, ttft, tpot, load, numbers)
