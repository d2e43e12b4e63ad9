"""llama.cpp: one buffer for weights, one for the cache, one for computing, on each device.

    figures = llama_cpp_figures(model, gpu, Deployment(weights_dtype="q4_k_m"), LlamaCppOptions())

Nothing is budgeted: the cache holds --ctx-size tokens over all slots, allocated at start. Without
--ctx-size it is the model's own context, reduced until 1 GiB stays free; what then does not fit
goes to the CPU unless -ngl or a flag for experts says otherwise. Several GPUs (of any parallel
size of the Deployment) get consecutive blocks. Weights and cache are exact; the compute
buffer is an estimate.
"""

from collections.abc import Mapping
from typing import Any

from planner.capacity import largest
from planner.deployment import Deployment
from planner.engines.engine import EngineFigures, exactly
from planner.engines.extended import extended, notes_on
from planner.engines.llama_cpp.buffers import PAD, cells
from planner.engines.llama_cpp.command import length_cap, scaling_flags, server_command
from planner.engines.llama_cpp.fit import fitted, is_fitted
from planner.engines.llama_cpp.log import log_lines
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.llama_cpp.placement import Placement, weights_of
from planner.errors import PlanRefused
from planner.estimate import total
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model
from planner.overheads import CONTEXT, LIBRARIES
from planner.units import GIB, counted, format_bytes
from planner.workload import Workload

NAME = "llama.cpp"
MARGIN_BYTES = GIB
LEAST_CTX = 4096


def llama_cpp_figures(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: LlamaCppOptions,
    workload: Workload | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    draft: Model | None = None,
    name: str | None = None,
) -> EngineFigures:
    """The figures of the fullest GPU, of the CPU where no layer is on one.

    Raises PlanRefused for weights that no GGUF file holds, and where inputs contradict each other.
    """
    if draft is not None:
        raise PlanRefused("llama.cpp loads a draft model beside its own: plan the draft apart")
    model, config, longer = extended(model, config, workload, None)
    if longer is not None and options.ctx_size is None:
        slots = 1 if options.unified else options.slots
        options = options.model_copy(update={"ctx_size": slots * longer.context_tokens})
    deployment = deployment.replace(weights_dtype=weights_of(model, deployment))
    assignment = assign(model, deployment.weights_dtype)
    placement = Placement(model, assignment, deployment, options, config)
    longest = model.max_position_embeddings
    if longest is None and not options.ctx_size:
        raise PlanRefused("max_position_embeddings is not in the configuration: give --ctx-size")
    runtime = total([CONTEXT, LIBRARIES])
    room = gpu.memory_bytes - runtime.bytes
    ctx = options.ctx_size
    if ctx is None:
        ctx = _shortened(placement, room - MARGIN_BYTES, longest or 0)
    ctx = ctx or longest or 0
    device, needed = _fullest(placement, ctx)
    if needed > room - MARGIN_BYTES and is_fitted(options):
        placement = fitted(placement, ctx, room - MARGIN_BYTES)
        device, needed = _fullest(placement, ctx)
    refused = None
    if needed > room:
        refused = (
            f"cudaMalloc failed: out of memory: {needed / GIB:.2f} GiB on one GPU with "
            f"{room / GIB:.2f} GiB free; lower -c or -ngl, or add --n-cpu-moe."
        )
    held = cells(ctx, None, options)
    each = held if options.unified else held // options.slots
    work = workload or Workload(context=min(each, longest or each))
    requests = min(options.slots, held // work.context) if work.context <= each else 0
    compute = placement.compute(device, ctx)
    return EngineFigures(
        name=NAME,
        version=options.version,
        budget_bytes=gpu.memory_bytes,
        components={
            "weights": placement.weights_estimate(device),
            "activation": compute,
            "non_torch": runtime,
        },
        kv_cache=exactly(placement.cache(device, ctx), "cells of the blocks on this device"),
        block_size=1,
        num_blocks=0 if refused else held,
        kv_cache_tokens=0 if refused else held,
        max_concurrency=0.0 if refused else held / each,
        blocks_per_request=each,
        requests=0 if refused else requests // work.beam_width,
        settings={
            "n_gpu_layers": sum(1 for d in placement.where if d >= 0),
            "max_model_len": each,
            "max_num_seqs": options.slots,
            "max_num_batched_tokens": options.ubatch_size,
            "ctx_size": ctx,
            "kv_unified": options.unified,
            "cache_type_k": placement.keys.name,
            "cache_type_v": placement.values.name,
        },
        command=server_command(
            name or model.source, model, deployment, options,
            () if longer is None else scaling_flags(longer),
        ),
        refused=refused,
        log_lines=() if refused else log_lines(placement, ctx, gpu.vendor),
        notes=notes_on(longer, model, workload)
        + (() if longer is None else (length_cap(longer),))
        + _notes(placement, ctx, longest, options, deployment.data_parallel_size),
        on_cpu=_on_cpu(placement),
        host_bytes=placement.weights(-1) + placement.cache(-1, ctx),
        binding_stage=max(0, device),
    )  # fmt: skip


def _fullest(placement: Placement, ctx_size: int) -> tuple[int, int]:
    """The GPU that holds most, and its bytes; the CPU where no layer is on one."""
    held = {gpu: placement.total(gpu, ctx_size) for gpu in placement.gpus}
    device = max(held, key=lambda gpu: held[gpu], default=-1)
    return device, held.get(device, 0)


def _shortened(placement: Placement, room: int, longest: int) -> int:
    """The longest context up to the model's own that leaves the margin; at least 4,096."""

    def fullest(steps: int) -> int:
        return max((placement.total(gpu, steps * PAD) for gpu in placement.gpus), default=0)

    least = LEAST_CTX // PAD
    most = max(LEAST_CTX, longest) // PAD
    found = max(least, largest(fullest, room, most, least)) * PAD
    return min(found, longest) if longest else found


def _on_cpu(placement: Placement) -> str:
    blocks = sum(1 for device in placement.where[:-1] if device < 0)
    experts = sum(1 for index in placement.spilled if placement.where[index] >= 0)
    parts = [f"{blocks:,}"] * bool(blocks) + [f"the experts of {experts:,}"] * bool(experts)
    return f"{' and '.join(parts)} of {counted(len(placement.layers), 'block')}" if parts else ""


def _notes(
    placement: Placement,
    ctx_size: int,
    longest: int | None,
    options: LlamaCppOptions,
    replicas: int,
) -> tuple[str, ...]:
    found = []
    if replicas > 1:
        found.append(
            f"The {replicas} replicas are servers of their own: start the command for each."
        )
    if where := _on_cpu(placement):
        host = format_bytes(placement.weights(-1) + placement.cache(-1, ctx_size))
        chosen = ", or a little less, for 1 GiB to stay free" * is_fitted(options)
        found.append(
            f"The CPU computes {where}{chosen}: host memory holds {host} with their cache and the "
            "input table."
        )
    if placement.drops_windows:
        found.append("llama.cpp uses no windows of this model: all of its layers keep every token.")
    if options.ctx_size is None and longest and ctx_size < longest:
        found.append(f"--fit shortens the context from {longest:,} to {ctx_size:,} tokens.")
    if not options.unified and options.slots > 1:
        each = cells(ctx_size, None, options) // options.slots
        found.append(f"{options.slots:,} slots have {each:,} tokens each.")
    elif options.unified and options.slots > 1:
        found.append(f"{options.slots:,} slots share {ctx_size:,} tokens.")
    at_once = "at once" if replicas == 1 else "at once on each"
    found.append(
        f"At most {options.slots:,} requests run {at_once}, one in each slot; -np sets how many."
    )
    return tuple(found)
