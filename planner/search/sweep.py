"""Every GPU, chunk size and number of users for one deployment at once, in NumPy.

    sweep(compile_deployment(model, deployment, target, users, chunk_tokens), grid)

Results have three axes: GPU, chunk size (max_num_batched_tokens), users.

Compiling asks the model's structure once; sweeping is arithmetic on arrays. What it finds for a
point is what latency() finds for it, and a test holds them equal.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.deployment import Deployment
from planner.memo import memo
from planner.model import Model
from planner.search.space import Target
from planner.timing.latency import Request
from planner.timing.messages import Message
from planner.timing.passes import (
    DecodePass,
    StagePass,
    decode_pass,
    distinct,
    packed_pass,
    prefill_pass,
    prompts_together,
)
from planner.timing.roofline import Costs
from planner.timing.speed_grid import GpuGrid
from planner.timing.steady import Load, steady_load

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Prompts:
    """A prompt in chunks of several sizes: all chunks as one pass per stage, on the last axis.

    before, last [chunk, chunk size]: how often a chunk comes before a prompt's last one, and
    whether it is that one. counts [chunk size]: chunks of a prompt. together, packed: prompts that
    a chunk has room for, and the pass over so many.
    """

    stages: tuple[StagePass, ...]
    before: Floats
    last: Floats
    counts: Ints
    together: Ints
    packed: tuple[StagePass, ...]

    def packed_s(self, grid: GpuGrid) -> Floats:
        """PrefillPass.service_s of a chunk full of prompts, of every chunk size."""
        slowest = np.maximum.reduce(_each(self.packed, grid))
        found: Floats = len(self.packed) * slowest.transpose(0, 2, 1)
        return found

    def seconds(self, grid: GpuGrid) -> tuple[Floats, Floats]:
        """PrefillPass.seconds and service_s of every chunk size."""
        stages = [
            np.broadcast_to(each, (*each.shape[:-1], len(self.before)))
            for each in _each(self.stages, grid)
        ]
        slowest, total = np.maximum.reduce(stages), np.add.reduce(stages)
        alone: Floats = (slowest @ self.before + total @ self.last).transpose(0, 2, 1)
        service: Floats = (slowest @ (self.before + self.last)).transpose(0, 2, 1)
        return alone, len(self.stages) * service


def _each(stages: tuple[StagePass, ...], grid: GpuGrid) -> list[Floats]:
    """The time of every stage, equal ones computed once."""
    timer = grid.timer()
    known = {id(stage): stage.seconds(timer) for stage in distinct(stages)}
    return [known[id(stage)] for stage in stages]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One deployment's coefficients: a step of any batch, a prompt by chunk size."""

    deployment: Deployment
    target: Target
    users: Ints
    sequences: Ints
    chunk_tokens: tuple[int, ...]
    decode: DecodePass
    prompts: Prompts


@dataclass(frozen=True, slots=True)
class Swept:
    """Times of every point; some axes have length 1 where nothing depends on them."""

    prefill_s: Floats
    decode_s: Floats
    load: Load


def compile_deployment(
    model: Model,
    deployment: Deployment,
    target: Target,
    users: Ints,
    chunk_tokens: tuple[int, ...],
) -> Compiled:
    """Raises PlanRefused where the deployment does not suit the model."""
    sequences: Ints = -(-users // deployment.data_parallel_size)
    shared = model.has_experts
    dp = deployment.data_parallel_size if shared else 1
    alone = Deployment(
        tensor_parallel_size=deployment.tensor_parallel_size,
        pipeline_parallel_size=deployment.pipeline_parallel_size,
        data_parallel_size=dp,
        context_parallel_size=deployment.context_parallel_size,
        enable_expert_parallel=deployment.enable_expert_parallel,
        weights_dtype=deployment.weights_dtype,
    )
    return Compiled(
        deployment=deployment,
        target=target,
        users=users,
        sequences=sequences,
        chunk_tokens=chunk_tokens,
        decode=decode_pass(model, deployment, sequences, target.request.mean_context),
        prompts=_prompts(model, alone, target.request, chunk_tokens),
    )


@memo(maxsize=512)
def _prompts(
    model: Model, deployment: Deployment, request: Request, chunk_tokens: tuple[int, ...]
) -> Prompts:
    """By what a pass over a prompt depends on: not the cache's format, nor how decoding splits."""
    prompts = [
        prefill_pass(model, deployment, request.prompt_tokens, request.cached_tokens, size)
        for size in chunk_tokens
    ]
    parts = [(k, part) for k, prompt in enumerate(prompts) for part in prompt.chunks]
    before = np.zeros((len(parts), len(prompts)))
    last = np.zeros((len(parts), len(prompts)))
    for row, (k, part) in enumerate(parts):
        (last if part is prompts[k].chunks[-1] else before)[row, k] = part[0]
    counts = np.asarray([prompt.count for prompt in prompts], dtype=np.int64)
    together = [prompts_together(request.computed_tokens, size) for size in chunk_tokens]
    packed = [
        packed_pass(model, deployment, request.prompt_tokens, request.cached_tokens, count)
        for count in together
    ]
    return Prompts(
        _merged_stages([part[1] for _, part in parts]),
        before,
        last,
        counts,
        np.asarray(together, dtype=np.int64),
        _merged_stages([one.chunks[0][1] for one in packed]),
    )


def _merged_stages(passes: list[tuple[StagePass, ...]]) -> tuple[StagePass, ...]:
    """One pass per stage, stages of equal structure being the same object again."""
    known: dict[int, StagePass] = {}
    found = []
    for index, stage in enumerate(passes[0]):
        if id(stage) not in known:
            known[id(stage)] = _merged([stages[index] for stages in passes])
        found.append(known[id(stage)])
    return tuple(found)


def _merged(passes: list[StagePass]) -> StagePass:
    """Passes of one stage that differ in their figures only, as one pass with arrays."""

    def array(values: list[Any]) -> Any:
        return values[0] if len(set(values)) == 1 else np.asarray(values)

    work = tuple(
        replace(
            alike[0],
            flops=array([w.flops for w in alike]),
            weight_bytes=array([w.weight_bytes for w in alike]),
            kv_bytes=array([w.kv_bytes for w in alike]),
            activation_bytes=array([w.activation_bytes for w in alike]),
        )
        for alike in zip(*[found.costs.work for found in passes], strict=True)
    )

    def joined(messages: list[tuple[Message, ...]]) -> tuple[Message, ...]:
        return tuple(
            replace(alike[0], size_bytes=array([m.size_bytes for m in alike]))
            for alike in zip(*messages, strict=True)
        )

    attention = tuple(w for w in work if w.part == "attention") if passes[0].ring else ()
    return StagePass(
        Costs(work),
        Costs(attention),
        joined([found.messages for found in passes]),
        passes[0].launches,
        joined([found.ring for found in passes]),
    )


@memo(maxsize=512)
def _prompt_times(prompts: Prompts, grid: GpuGrid) -> tuple[Floats, Floats, Floats]:
    """seconds() and packed_s(): the same for all deployments that share the prompts."""
    return *prompts.seconds(grid), prompts.packed_s(grid)


def sweep(compiled: Compiled, grid: GpuGrid) -> Swept:
    """The times of all points."""
    timer = grid.timer()
    request = compiled.target.request
    decode = compiled.decode.seconds(timer)
    prefill, service, packed = _prompt_times(compiled.prompts, grid)
    load = steady_load(
        users=compiled.sequences[None, None, :],
        output_tokens=request.output_tokens,
        computed_tokens=request.computed_tokens,
        chunks=compiled.prompts.counts[None, :, None],
        prefill_s=service,
        decode_s=decode,
        cache_s=compiled.decode.attention_s(timer),
        together=compiled.prompts.together[None, :, None],
        together_s=packed,
        stages=compiled.deployment.pipeline_parallel_size,
        alone_s=prefill,
    )
    return Swept(prefill, decode, load)
