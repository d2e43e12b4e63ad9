"""llama.cpp: one buffer for weights, one for the cache, one for computing, on each device.

    figures = llama_cpp_figures(model, gpu, Deployment(weights_dtype="q4_k_m"), LlamaCppOptions())

Nothing is budgeted: the cache holds --ctx-size tokens over all slots, allocated at start. Without
--ctx-size it is the model's own context, reduced until 1 GiB stays free. Several GPUs (of any
parallel size of the Deployment) get consecutive blocks. Weights and cache are exact; the compute
buffer is an estimate.
"""

from collections.abc import Mapping
from typing import Any

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures, exactly, within
from planner.engines.extended import extended, llama_cpp_cap, llama_cpp_flags, notes_on
from planner.engines.llama_cpp.buffers import (
    PAD,
    cell_bytes,
    cells,
    compute_bytes,
    devices,
    ends_of,
    layers_of,
    on_cpu_experts,
    rope_factor_bytes,
    state_bytes,
)
from planner.engines.llama_cpp.options import LlamaCppOptions, cache_types, server_command
from planner.errors import PlanRefused
from planner.estimate import Estimate
from planner.formats.gguf_assignment import is_gguf
from planner.formats.gguf_mixes import BASE
from planner.formats.quantization import Assignment, assign
from planner.hardware import Gpu
from planner.model import Model
from planner.overheads import CONTEXT, LIBRARIES
from planner.units import GIB, MIB
from planner.workload import Workload

NAME = "llama.cpp"
MARGIN_BYTES = GIB
LEAST_CTX = 4096
BACKENDS = {"AMD": "ROCm", "Apple": "Metal", "Intel": "SYCL"}
"""What devices are called in its log; CUDA elsewhere."""
PLAIN = ("bf16", "fp16", "fp32", "mxfp4")


class Placement:
    """A model laid over devices: what each holds for a context of so many tokens.

    Device -1 is the CPU. Figures are bytes of one device.
    """

    def __init__(
        self,
        model: Model,
        assignment: Assignment,
        deployment: Deployment,
        options: LlamaCppOptions,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.options = model, options
        self.factors = rope_factor_bytes(model, config)
        self.mixed = deployment.weights_dtype.lower() in BASE
        self.layers = layers_of(model, assignment)
        self.front, self.back = ends_of(model, assignment)
        self.keys, self.values = cache_types(deployment, options)
        self.where = devices(len(self.layers), options.n_gpu_layers, deployment.gpus)

    @property
    def gpus(self) -> tuple[int, ...]:
        """The GPUs that hold something."""
        return tuple(sorted({device for device in self.where if device >= 0}))

    def weights(self, device: int) -> int:
        """Weights on a device; the input table and --cpu-moe's experts are the CPU's."""
        total = self.front if device < 0 else 0
        total += self.back if self.where[-1] == device else 0
        for index, layer in enumerate(self.layers):
            held = 0 if self.where[index] != device else layer.weights + self.factors
            if on_cpu_experts(index, self.options) and self.where[index] >= 0:
                held = layer.experts if device < 0 else held - (layer.experts if held else 0)
            total += held
        return total

    def weights_estimate(self, device: int) -> Estimate:
        """Exact but for a mix of types with recurrent layers, whose types are assumed."""
        size = self.weights(device)
        if not self.mixed or not any(layer.group.state() for layer in self.layers):
            return exactly(size, "tensors of the blocks on this device")
        return within(
            size, size, 1.1 * size,
            "tensors of the blocks on this device; recurrent matrices at the file's base type, of "
            "which published files store some larger (Qwen3.5-9B Q4_K_M: 7 % more)",
        )  # fmt: skip

    def cache(self, device: int, ctx_size: int) -> int:
        """Cells and states of the blocks on a device."""
        total = 0
        for index, layer in enumerate(self.layers):
            at = -1 if self.options.no_kv_offload else self.where[index]
            if at != device:
                continue
            for mixer in layer.group.mixers:
                tensors = mixer.cache()
                window = tensors[0].window if tensors else None
                each = cell_bytes(mixer, self.keys, self.values, self.options)
                total += each * cells(ctx_size, window, self.options)
            total += self.options.slots * state_bytes(layer.group)
        return total

    def compute(self, device: int, ctx_size: int) -> Estimate:
        """The compute buffer; experts in CPU memory are copied in for long prompts."""
        held = cells(ctx_size, None, self.options)
        last = self.where[-1] == device
        size = compute_bytes(self.model, held, self.options, with_output=last)
        least = compute_bytes(self.model, held, self.options, with_output=False)
        moved = max(
            (
                layer.largest_expert_tensor
                for index, layer in enumerate(self.layers)
                if on_cpu_experts(index, self.options) or self.where[index] < 0
            ),
            default=0,
        )
        mask = 4 * held * self.options.ubatch_size
        return within(
            size + moved, 0.9 * least, 1.6 * size + 2 * moved + 2 * mask,
            "the widest moment of the graph; to the last digit for Qwen2.5-3B, 3 % for Mistral-7B; "
            "builds of autumn 2026 hold logits of the last tokens only, which is the low end",
        )  # fmt: skip

    def total(self, device: int, ctx_size: int) -> int:
        """Everything on a GPU but the run time."""
        return (
            self.weights(device)
            + self.cache(device, ctx_size)
            + self.compute(device, ctx_size).bytes
        )


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
    assignment = assign(model, weights_of(model, deployment))
    placement = Placement(model, assignment, deployment, options, config)
    longest = model.max_position_embeddings
    if longest is None and not options.ctx_size:
        raise PlanRefused("max_position_embeddings is not in the configuration: give --ctx-size")
    runtime = CONTEXT.bytes + LIBRARIES.bytes
    room = gpu.memory_bytes - runtime
    ctx = options.ctx_size
    if ctx is None:
        ctx = _fitted(placement, room - MARGIN_BYTES, longest or 0)
    ctx = ctx or longest or 0
    device = max(placement.gpus, key=lambda d: placement.total(d, ctx), default=-1)
    total = placement.total(device, ctx) if device >= 0 else 0
    refused = None
    if total > room:
        refused = (
            f"cudaMalloc failed: out of memory: {total / GIB:.2f} GiB on one GPU with "
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
            "non_torch": _runtime(),
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
            name or model.source, deployment, options,
            () if longer is None else llama_cpp_flags(longer),
        ),
        refused=refused,
        log_lines=() if refused else log_lines(placement, ctx, gpu.vendor),
        notes=notes_on(longer, model, workload)
        + (() if longer is None else (llama_cpp_cap(longer),))
        + _notes(placement, ctx, longest, options, deployment.data_parallel_size),
        host_bytes=placement.weights(-1) + placement.cache(-1, ctx),
        binding_stage=max(0, device),
    )  # fmt: skip


def weights_of(model: Model, deployment: Deployment) -> str:
    """The format of the file; 'auto' of an unquantised model is its own dtype."""
    name = deployment.weights_dtype.lower()
    if name == "auto" and model.quantization is None:
        return name
    if is_gguf(name) or name in PLAIN:
        return name
    raise PlanRefused(
        f"weights_dtype {name}: no GGUF file holds it; choose a GGUF type such as q4_k_m or q8_0"
    )


def _runtime() -> Estimate:
    return Estimate(
        CONTEXT.bytes + LIBRARIES.bytes,
        CONTEXT.low_bytes + LIBRARIES.low_bytes,
        CONTEXT.high_bytes + LIBRARIES.high_bytes,
        f"{CONTEXT.source}; {LIBRARIES.source}",
    )


def _fitted(placement: Placement, room: int, longest: int) -> int:
    """The longest context up to the model's own that leaves the margin; at least 4,096."""
    low, high = LEAST_CTX // PAD, max(LEAST_CTX, longest) // PAD
    gpus = placement.gpus
    while low < high:
        middle = (low + high + 1) // 2
        if all(placement.total(d, middle * PAD) <= room for d in gpus):
            low = middle
        else:
            high = middle - 1
    return min(low * PAD, longest) if longest else low * PAD


def log_lines(placement: Placement, ctx_size: int, vendor: str) -> tuple[str, ...]:
    """Buffers as printed: weights, cache and compute of every device that has some."""
    backend = BACKENDS.get(vendor, "CUDA")
    lines = []
    for device in (-1, *placement.gpus):
        name = "CPU" if device < 0 else backend if backend == "Metal" else f"{backend}{device}"
        weights, cache = placement.weights(device), placement.cache(device, ctx_size)
        shown = f"{name}_Mapped" if name in ("CPU", "Metal") else name
        lines.append(f"{shown} model buffer size = {weights / MIB:8.2f} MiB")
        if cache:
            lines.append(f"{name} KV buffer size = {cache / MIB:8.2f} MiB")
        if device >= 0:
            size = placement.compute(device, ctx_size).bytes
            lines.append(f"{name} compute buffer size = {size / MIB:8.2f} MiB")
    return tuple(lines)


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
    on_cpu = sum(1 for device in placement.where[:-1] if device < 0)
    if on_cpu:
        found.append(f"{on_cpu:,} of {len(placement.layers):,} blocks compute on the CPU.")
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
