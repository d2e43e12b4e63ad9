"""Changes with which an engine holds the whole workload: one at a time, the mildest first, flags
together where no single one does.

    figures = with_room("vllm", options, deployment, workload, model, gpu, figures_of)
    figures.remedies  # ("--gpu-memory-utilization 0.95", "a KV cache in fp8", "30 sequences ...")

figures_of(options, deployment) is the engine's own answer, so that every change named was computed
again and holds all sequences. A refusal keeps the flags of planner.engines.remedies beside them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.llama_cpp.options import LlamaCppOptions, slots_of
from planner.engines.platforms import check_runs
from planner.engines.remedies import Knob, mildest, with_remedies
from planner.errors import SizewellError
from planner.fixes import MOST, layout
from planner.formats.dtypes import kv_format
from planner.formats.format_support import missing
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.model import Model
from planner.parallelism import by_layers, cache_splits
from planner.units import ceil_div, counted, format_bytes
from planner.workload import Workload

FiguresOf = Callable[[Any, Deployment], EngineFigures]
Works = Callable[[Frozen, Deployment], bool]

SHARES = {
    "vllm": Knob("--gpu-memory-utilization", "gpu_memory_utilization", 0.97, 0.01),
    "sglang": Knob("--mem-fraction-static", "mem_fraction_static", 0.95, 0.01),
    "tensorrt-llm": Knob(
        "--kv_cache_free_gpu_memory_fraction", "free_gpu_memory_fraction", 0.98, 0.01
    ),
}
"""How much of the card an engine may use."""
BATCHES = {
    "vllm": ("--max-num-seqs", "max_num_seqs"),
    "sglang": ("--max-running-requests", "max_running_requests"),
    "tensorrt-llm": ("--max_batch_size", "max_batch_size"),
}
"""How many sequences it runs at once."""
LENGTHS = {
    "vllm": ("--max-model-len", "max_model_len"),
    "sglang": ("--context-length", "context_length"),
    "tensorrt-llm": ("--max_seq_len", "max_seq_len"),
}
"""How long a sequence may be."""
CACHE = "fp8"
ONLY_OUTPUT = 1
"""Layers on GPUs where every block is on the CPU: no remedy for a plan of those GPUs."""


def with_room(
    name: str,
    options: Frozen,
    deployment: Deployment,
    workload: Workload,
    model: Model,
    gpu: Gpu,
    figures_of: FiguresOf,
) -> EngineFigures:
    """The engine's figures; where they hold too few sequences, up to MOST changes that hold all.

    Of a refusal whose flags would hold too few they are `serving`.

    Raises PlanRefused where the engine does not run this plan, whatever its size.
    """
    check_runs(name, model, gpu, deployment, getattr(options, "version", None))
    cut = not isinstance(options, LlamaCppOptions)  # of which a slot runs no longer request at all
    found = with_remedies(
        name, options, lambda changed: figures_of(changed, deployment),
        least_tokens=workload.least_context if cut else workload.context,
    )  # fmt: skip
    enough = max(found.remedies_hold, default=0) >= workload.concurrency
    if _holds_all(found, workload) or (found.refused is not None and enough):
        return found
    changes = _changes(name, options, deployment, workload, model, gpu, found, figures_of)
    if found.refused is not None:
        return replace(found, serving=tuple(islice(changes, MOST)))
    return replace(found, remedies=tuple(islice(changes, MOST)))


def _holds_all(figures: EngineFigures, workload: Workload) -> bool:
    held = 0 if figures.refused is not None else figures.requests * figures.replicas
    return held >= workload.concurrency


def _changes(
    name: str,
    options: Frozen,
    deployment: Deployment,
    workload: Workload,
    model: Model,
    gpu: Gpu,
    found: EngineFigures,
    figures_of: FiguresOf,
) -> Iterator[str]:
    def works(changed: Frozen, changed_deployment: Deployment) -> bool:
        try:
            return _holds_all(figures_of(changed, changed_deployment), workload)
        except (SizewellError, ValueError):
            return False

    def with_flags(change: str, changed: Deployment) -> str | None:
        """The change, with the flags that it needs beside it; None where none do."""
        if works(options, changed):
            return change
        flags = next(_flags_together(name, options, changed, workload, found, works), None)
        return flags and f"{change} and {flags}"

    alone = tuple(_flags(name, options, deployment, workload, found, figures_of, works))
    yield from alone
    if not alone:
        yield from _flags_together(name, options, deployment, workload, found, works)
    split = next((d for d in cache_splits(model, deployment) if works(options, d)), None)
    if split is not None:
        yield f"--decode-context-parallel-size {split.decode_context_parallel_size}"
    now = kv_format(deployment.kv_cache_dtype, model.own_cache)
    smaller = kv_format(CACHE, model.own_cache).bits_per_element < now.bits_per_element
    kept = deployment.replace(kv_cache_dtype=CACHE)
    if smaller and missing(gpu, (), CACHE) is None:
        change = with_flags(f"a KV cache in {CACHE}", kept)
        if change is not None:
            yield change
    wider = () if gpu.stands_alone else _more_gpus(name, deployment, gpu.joined_gpus)
    spread = next(filter(None, (with_flags(_spread(d), d) for d in wider)), None)
    if spread is not None:
        yield spread
    held = found.requests * found.replicas
    if held:
        waiting = ", while the others wait" if found.refused is not None else ""
        yield f"{counted(held, 'sequence')} at once{waiting}"


def _flags(
    name: str,
    options: Frozen,
    deployment: Deployment,
    workload: Workload,
    found: EngineFigures,
    figures_of: FiguresOf,
    works: Works,
) -> Iterator[str]:
    """Flags of the engine that do, each for itself."""
    if name in BATCHES:
        flag, field = BATCHES[name]
        each = _sequences(deployment, workload)
        if works(options.model_copy(update={field: each}), deployment):
            yield f"{flag} {each}"
    if isinstance(options, LlamaCppOptions):
        slots = _sequences(deployment, workload)
        wider, words = slots_of(options, slots, workload.context)
        if works(wider, deployment):
            then = figures_of(wider, deployment)
            on_gpu = then.settings["n_gpu_layers"]
            host = format_bytes(then.host_bytes)
            if not then.on_cpu:
                yield words
            elif isinstance(on_gpu, int) and on_gpu > ONLY_OUTPUT:
                yield f"{words} (with {then.on_cpu} on the CPU and {host} of its memory)"
    if name in SHARES:
        value = mildest(SHARES[name], options, found, lambda changed: works(changed, deployment))
        if value is not None:
            yield f"{SHARES[name].flag} {value:.4g}"


def _flags_together(
    name: str,
    options: Frozen,
    deployment: Deployment,
    workload: Workload,
    found: EngineFigures,
    works: Works,
) -> Iterator[str]:
    """The workload's own length, its batch with it, and the mildest share of the card with both."""
    if name not in BATCHES:
        return
    (batch, field), each = BATCHES[name], _sequences(deployment, workload)
    length, longest = LENGTHS[name]
    shorter = options.model_copy(update={longest: workload.context})
    words = f"{length} {workload.context}"
    if works(shorter, deployment):
        yield words
        return
    fitted = shorter.model_copy(update={field: each})
    words += f" with {batch} {each}"
    if works(fitted, deployment):
        yield words
        return
    value = mildest(SHARES[name], fitted, found, lambda changed: works(changed, deployment))
    if value is not None:
        yield f"{words} and {SHARES[name].flag} {value:.4g}"


def _sequences(deployment: Deployment, workload: Workload) -> int:
    """Sequences of the fullest replica, beams counted."""
    return ceil_div(workload.concurrency, deployment.data_parallel_size) * workload.beam_width


def _spread(deployment: Deployment) -> str:
    copies = deployment.data_parallel_size
    parallel = layout(deployment) + (f", data parallel {copies}" if copies > 1 else "")
    return f"{deployment.gpus} GPUs ({parallel})"


def _more_gpus(name: str, deployment: Deployment, joined: int) -> Iterator[Deployment]:
    """Two, four and eight times the GPUs: split as widely as a machine of `joined` allows, else
    replicas. llama.cpp deals layers to any number of them."""
    if name == "llama.cpp":
        one = deployment.replace(data_parallel_size=1)
        for gpus in range(deployment.gpus + 1, joined + 1):
            yield by_layers(one, gpus)
        return
    tp, dp = deployment.tensor_parallel_size, deployment.data_parallel_size
    for times in (2, 4, 8):
        for wider in (8, 4, 2, 1):
            if times % wider == 0 and (wider == 1 or tp * wider <= joined):
                yield deployment.replace(
                    tensor_parallel_size=tp * wider, data_parallel_size=dp * (times // wider)
                )
