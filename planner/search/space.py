"""What a search looks for, and every deployment it tries."""

from collections.abc import Iterator

from pydantic import Field

from planner.deployment import Deployment
from planner.frozen import Frozen
from planner.hardware import GPUS_PER_MACHINE
from planner.model import Model
from planner.parallelism import cache_copies
from planner.timing.latency import Request

OWN = ("auto",)
"""The format that the model is published in."""
WEIGHTS = ("auto", "fp8", "nvfp4", "int4")
CACHES = ("auto", "fp8")
"""The model's own format and those that lose precision, for searches that allow it."""
IDEAL = "ideal"
SERVING = ("vllm", "sglang", "tensorrt-llm", "llama.cpp")
"""Engines that a search can plan with; ideal: none, bytes alone. transformers is no server."""
SPEED_ASSUMED = ("llama.cpp",)
"""Engines that get the times of the others' kernels without any record of their own under load. On
an H200 the throughput of llama.cpp stays level as users are added while vLLM's grows
(developers.redhat.com, "vLLM or llama.cpp", 2025-09-30): no figure for it is taken from that."""
USUAL_TTFT_P95_S = 2.0
USUAL_TPOT_S = 0.04
"""What a reader of a chat hardly notices: the limits of a search that was given none."""
CHUNKS = (512, 1024, 2048, 4096, 8192, 16384)
"""max_num_batched_tokens that are tried: small chunks hold up answers less, large ones fewer."""


RINGS = (1, 2, 4, 8)
"""Sizes of a prefill ring that are tried where one is described."""


class Target(Frozen):
    """What is to be served, and how fast. None: no limit.

    concurrency users each send the next request when the last is answered. ttft_p95_s holds for
    95 % of requests under that load, tpot_s on average.
    """

    request: Request
    concurrency: int = Field(default=1, ge=1, le=100_000)
    ttft_p95_s: float | None = Field(default=None, gt=0)
    tpot_s: float | None = Field(default=None, gt=0)


class Space(Frozen):
    """The choices a search combines; orders of formats are from best quality to least, and of
    engines which comes first of equals.

    Formats that lose precision are tried only where they are named, such as WEIGHTS and CACHES.
    """

    max_gpus: int = Field(default=16, ge=1, le=1024)
    weights_dtypes: tuple[str, ...] = OWN
    kv_cache_dtypes: tuple[str, ...] = OWN
    engines: tuple[str, ...] = (IDEAL,)
    chunk_tokens: tuple[int, ...] = CHUNKS
    pipeline: bool = True
    rings: tuple[int, ...] = (1,)
    """Sizes of a prefill ring (context_parallel_size); only plain bytes are described with one."""
    apart: bool = False
    """Whether prompts and answers are also given GPUs of their own."""


def deployments(model: Model, space: Space) -> Iterator[Deployment]:
    """Deployments to try, fewest GPUs first; shapes may still refuse them.

    Tensor parallelism stays in a machine, stages may cross machines, replicas come on top. A model
    with experts is also spread by expert parallelism wherever it has several GPUs, and a cache that
    tensor parallelism copies is also split by decode context parallelism.
    """
    moe = model.has_experts
    layouts = sorted(
        (tp * pp * dp * ring, tp, pp, dp, ring, dcp)
        for tp in _powers(min(space.max_gpus, GPUS_PER_MACHINE))
        for pp in _powers(space.max_gpus if space.pipeline else 1)
        for dp in _powers(space.max_gpus)
        for ring in space.rings
        for dcp in _powers(cache_copies(model, tp))
        if tp * pp * dp * ring <= space.max_gpus and pp <= model.num_hidden_layers
    )
    for gpus, tp, pp, dp, ring, dcp in layouts:
        for experts in (False, True) if moe and gpus > pp else (False,):
            for weights in space.weights_dtypes:
                for cache in space.kv_cache_dtypes:
                    yield Deployment(
                        tensor_parallel_size=tp,
                        pipeline_parallel_size=pp,
                        data_parallel_size=dp,
                        context_parallel_size=ring,
                        decode_context_parallel_size=dcp,
                        enable_expert_parallel=experts,
                        weights_dtype=weights,
                        kv_cache_dtype=cache,
                    )


def _powers(limit: int) -> list[int]:
    return [2**i for i in range(limit.bit_length()) if 2**i <= limit]
