"""transformers.generate: no pool, a cache that grows with the batch, and what it copies on the way.

    figures = transformers_figures(model, gpu, Deployment(), TransformersOptions(), workload)

One batch of `concurrency` sequences of `context` tokens, prefilled at once. Source: transformers
5.23.0, cache_utils and generation; the behaviour of sliding layers and of the first update was
executed. Activations are an estimate from layer widths.
"""

from collections.abc import Mapping
from typing import Any

from planner.activations import ActivationTerms, activation_terms
from planner.capacity import largest
from planner.deployment import Deployment
from planner.engines.checkpoint import Checkpoint, checkpoint_of
from planner.engines.engine import EngineFigures, exactly, within
from planner.engines.extended import extended, notes_on
from planner.engines.stages import left_of, stages
from planner.engines.transformers.cache import Caches
from planner.engines.transformers.command import (
    QUANTISED_ON_LOAD,
    load_command,
    scaling_arguments,
)
from planner.engines.transformers.options import TransformersOptions
from planner.errors import PlanRefused
from planner.estimate import Estimate, total
from planner.formats.dtypes import NAME_OF_DTYPE
from planner.formats.gguf_assignment import held_in_gguf
from planner.hardware import Gpu
from planner.kv_cache import whole
from planner.model import Model
from planner.overheads import CONTEXT, LIBRARIES
from planner.parallelism import check
from planner.run_dtype import as_run
from planner.units import GIB, format_bytes
from planner.workload import MAX_SEQUENCES, MAX_TOKENS, Workload

NAME = "transformers"
FP32 = 4


def transformers_figures(
    model: Model,
    gpu: Gpu,
    deployment: Deployment,
    options: TransformersOptions,
    workload: Workload | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    draft: Model | None = None,
    name: str | None = None,
) -> EngineFigures:
    """The figures of one GPU, for a batch of the workload (else one sequence of full length).

    kv_cache is what the batch's cache takes, transients are apart; kv_cache_tokens is how many
    tokens of such sequences the GPU holds. Raises PlanRefused for what transformers has not.
    """
    _check(deployment, draft)
    check(model, deployment)
    model, config, longer = extended(model, config, workload, None)
    model = as_run(model, "auto", model.saved_dtype)
    checkpoint = checkpoint_of(name or model.source, model, deployment, QUANTISED_ON_LOAD)
    model = as_run(model, deployment.weights_dtype)
    work = workload or Workload(context=model.max_position_embeddings or 8192)
    batch, context = work.concurrency * work.beam_width, work.context
    caches = Caches(model, options, deployment.tensor_parallel_size)
    held_as = held_dtype(model, deployment)
    weights = stages(model, deployment.replace(weights_dtype=held_as), config)[0].weights
    runtime = total([CONTEXT, LIBRARIES])
    terms = activation_terms(
        model, list(whole(model)), tensor_parallel_size=deployment.tensor_parallel_size
    )
    components = {"weights": weights, "non_torch": runtime}
    room = gpu.memory_bytes - weights.bytes - runtime.bytes
    held = exactly(caches.held(batch, context), f"{options.cache_implementation} cache")
    working = _working(caches, terms, model, options, batch, context)
    need = weights.bytes + runtime.bytes + held.bytes + working.bytes
    refused = None
    if need > gpu.memory_bytes:
        refused = (
            f"torch.OutOfMemoryError: the batch needs {need / GIB:.2f} GiB of "
            f"{gpu.memory_bytes / GIB:.2f}: {held.bytes / GIB:.2f} of cache, "
            f"{working.bytes / GIB:.2f} of copies and activations."
        )

    def taken(sequences: int, tokens: int) -> int:
        work = _working(caches, terms, model, options, sequences, tokens)
        return caches.held(sequences, tokens) + work.bytes

    sequences = largest(lambda n: taken(n, context), room, MAX_SEQUENCES, batch)
    tokens = batch * largest(lambda n: taken(batch, n), room, MAX_TOKENS, context)
    longest = model.max_position_embeddings or context
    return EngineFigures(
        name=NAME,
        version=options.version,
        budget_bytes=gpu.memory_bytes,
        components={**components, "activation": working},
        kv_cache=held,
        block_size=1,
        num_blocks=tokens,
        kv_cache_tokens=tokens,
        max_concurrency=tokens / longest,
        blocks_per_request=longest,
        requests=sequences // work.beam_width,
        settings={
            "cache_implementation": options.cache_implementation,
            "attn_implementation": options.attn_implementation,
            "max_model_len": longest,
            "max_num_seqs": batch,
            "max_num_batched_tokens": min(2**24, batch * (options.prefill_chunk_size or context)),
        },
        command=load_command(
            checkpoint, model, deployment, options,
            () if longer is None else scaling_arguments(longer, config),
        ),
        refused=refused,
        notes=notes_on(longer, model, workload)
        + _loaded(model, deployment, checkpoint)
        + _held(batch, context, held, tokens, refused)
        + _notes(caches, options, left_of(room, components.values(), "").low_bytes),
        host_bytes=caches.offloaded(batch, context),
    )  # fmt: skip


def _check(deployment: Deployment, draft: Model | None) -> None:
    if deployment.kv_cache_dtype not in ("auto", "bf16", "fp16", "fp32"):
        raise PlanRefused(
            f"kv_cache_dtype {deployment.kv_cache_dtype}: transformers keeps the model's dtype; "
            "use cache_implementation quantized"
        )
    if deployment.gpus > deployment.tensor_parallel_size:
        raise PlanRefused("transformers runs tensor parallel only (tp_plan): set the others to 1")
    if draft is not None:
        raise PlanRefused("transformers loads an assistant beside its model: plan it apart")


def _working(
    caches: Caches,
    terms: ActivationTerms,
    model: Model,
    options: TransformersOptions,
    batch: int,
    context: int,
) -> Estimate:
    """The larger of prefill and of a decode step: activations, copies, logits of last tokens.

    Prefill runs all tokens at once and keeps whole keys and values of windowed layers.
    """
    chunk = min(context, options.prefill_chunk_size or context)
    layers = terms.layers(batch * chunk)
    scores = caches.score_bytes(batch, chunk, context)
    logits = batch * model.vocab_size * (caches.element + FP32)
    prefill = layers.bytes + scores + caches.prefill_extra(batch, context)
    step = caches.step_extra(batch, context) + terms.layer_bytes(batch)
    size = max(prefill, step) + logits
    spread = layers.high_bytes - layers.bytes
    return within(
        size, size - layers.bytes // 2, size + spread + caches.held(batch, context) // 8,
        "layer widths, copies of the cache, logits; the allocator may keep an eighth more",
    )  # fmt: skip


def held_dtype(model: Model, deployment: Deployment) -> str:
    """The format that weights are held in: on CUDA a GGUF file is dequantised while it is loaded
    (transformers' page on GGUF; only on Metal, and of Qwen3.5, do blocks stay packed)."""
    if held_in_gguf(model, deployment.weights_dtype):
        return NAME_OF_DTYPE[model.dtype]
    return deployment.weights_dtype


def _loaded(model: Model, deployment: Deployment, checkpoint: Checkpoint) -> tuple[str, ...]:
    """What is loaded in another format than bytes alone are planned in."""
    if held_in_gguf(model, deployment.weights_dtype):
        return (
            "transformers dequantises a GGUF file while it loads it: weights are held in "
            f"{model.dtype}, whatever the file's size.",
        )
    found = () if checkpoint.note is None else (checkpoint.note,)
    if model.saved_dtype is None or deployment.weights_dtype != "auto":
        return found
    return (*found, f'dtype="auto" keeps the checkpoint as it is saved, in {model.dtype}.')


def _held(
    batch: int, context: int, held: Estimate, tokens: int, refused: str | None
) -> tuple[str, ...]:
    """What the two figures of the cache are: the batch's bytes, and the most tokens."""
    if refused is not None:
        return ()
    return (
        f"The KV cache is what the planned batch takes: {batch:,} × {context:,} tokens, "
        f"{format_bytes(held.bytes)}. {tokens:,} tokens is the most that a batch of "
        f"{batch:,} could reach before the GPU is full.",
    )


def _notes(caches: Caches, options: TransformersOptions, room: int) -> tuple[str, ...]:
    found = ["Sequences of a batch are padded to the longest; there is no pool to share."]
    if room <= 0:
        found.append("Weights alone may not fit.")
    if caches.windowed and options.cache_implementation == "dynamic":
        found.append("Windowed layers keep whole keys and values until the first decode step.")
    if options.cache_implementation == "quantized":
        found.append("Every step dequantises the whole cache of a layer.")
    if options.attn_implementation == "eager":
        found.append("Eager attention materialises the scores; sdpa does not.")
    return tuple(found)
