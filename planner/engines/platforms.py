"""Where an engine runs: the cards, the formats and the layouts that it is described with.

Sources: vLLM's installation notes (CUDA from compute capability 7.5, 7.0 before 0.20, whose wheel
is the first without kernels for it: 0.19.1 and 0.20.2 were read; ROCm on the builds below; Gaudi,
TPU, Intel XPU, Apple and Neuron by plugins), SGLang's (CUDA from 7.5, ROCm on gfx942 and gfx950,
Intel XPU), TensorRT-LLM's support matrix (CUDA from 8.0, not a Jetson Orin's 8.7, for which only
0.12 has a branch), llama.cpp's list of backends (CUDA, HIP, Metal, SYCL).
"""

from planner.deployment import Deployment
from planner.engines.methods import not_loaded
from planner.engines.registry import ENGINES
from planner.engines.tensorrt_llm import formats as tensorrt_llm_formats
from planner.errors import PlanRefused
from planner.formats.dtypes import kv_format
from planner.formats.format_support import missing
from planner.formats.quantization import assign
from planner.hardware import Gpu
from planner.model import Model

CUDA_SINCE = {"vllm": 7.5, "sglang": 7.5, "tensorrt-llm": 8.0, "llama.cpp": 5.0}
CUDA_BEFORE = {"vllm": (20, 7.0)}
"""Engine -> the minor version from which CUDA_SINCE holds, and what ran before."""
CUDA_WITHOUT = {"tensorrt-llm": (8.7,)}
AMD_BUILDS = {
    "vllm": (
        "gfx90a", "gfx942", "gfx950", "gfx1100", "gfx1101", "gfx1150", "gfx1151", "gfx1200",
        "gfx1201",
    ),
    "sglang": ("gfx942", "gfx950"),
    "llama.cpp": ("gfx",),
}  # fmt: skip
OTHER_VENDORS = {
    "vllm": ("Intel", "Google"),
    "sglang": (),
    "tensorrt-llm": (),
    "llama.cpp": ("Apple", "Intel"),
}
PLUGINS = {("vllm", "AWS"): "AWS's Neuron plugin", ("vllm", "Apple"): "the vllm-metal plugin"}
"""Builds that exist and that this does not describe."""


def check_runs(
    engine: str, model: Model, gpu: Gpu, deployment: Deployment, version: str | None = None
) -> None:
    """Raises PlanRefused where the engine does not run these formats on that card, so laid out.

    version: else the newest that is described.
    """
    weights = assign(model, deployment.weights_dtype).bytes_by_format()
    cache = kv_format(deployment.kv_cache_dtype, model.own_cache).name
    others = [ENGINES[name].label for name in CUDA_SINCE if _runs(name, gpu)]
    elsewhere = f"choose {' or '.join(others)}, or " if others else ""
    if (why := not_on(engine, gpu, version)) is not None:
        raise PlanRefused(f"{why}; {elsewhere}plan it without an engine, by bytes alone")
    why = (
        not_run(engine, model, deployment.weights_dtype, gpu)
        or missing(gpu, weights, cache, llama_cpp=engine == "llama.cpp")
        or not_laid_out(engine, deployment)
    )
    if why is not None:
        raise PlanRefused(f"{why}; plan it without an engine, by bytes alone")


def not_laid_out(engine: str, deployment: Deployment) -> str | None:
    """What of the layout the engine is not described with, as a sentence; None where all is."""
    if engine not in ENGINES:
        return None
    if deployment.context_parallel_size > 1:
        return (
            f"{ENGINES[engine].label} is not described with a prefill ring (context_parallel_size)"
        )
    if deployment.decode_context_parallel_size > 1 and engine != "vllm":
        return (
            f"{ENGINES[engine].label} is not described with decode context parallelism "
            "(decode_context_parallel_size)"
        )
    return None


def not_on(engine: str, gpu: Gpu, version: str | None = None) -> str | None:
    """Why the engine does not run on that GPU, as a sentence; None where it does. version: else the
    newest that is described."""
    if engine not in CUDA_SINCE or _runs(engine, gpu, version):
        return None
    label, has = ENGINES[engine].label, gpu.compute_capability
    if engine in CUDA_BEFORE and _runs(engine, gpu, "0.0"):
        return (
            f"{label} from 0.{CUDA_BEFORE[engine][0]} on has no kernels for {gpu.name} (compute "
            f"capability {has}, {CUDA_SINCE[engine]} needed), which older versions have"
        )
    if (plugin := PLUGINS.get((engine, gpu.vendor))) is not None:
        return f"{label} runs on {gpu.name} by {plugin}, with which it is not described here"
    least = _least(engine, version)
    lacks = ""
    if gpu.cuda_capability is not None and gpu.cuda_capability < least:
        lacks = f" (compute capability {has}, {least} needed)"
    return f"{label} does not run on {gpu.name}{lacks}"


def not_run(engine: str, model: Model, weights_dtype: str, gpu: Gpu) -> str | None:
    """Why the engine does not run such weights on a GPU that it runs on; None where it does, or
    where the card alone decides."""
    unread = not_loaded(engine, assign(model, weights_dtype), gpu)
    if unread is None and engine == "tensorrt-llm":
        return tensorrt_llm_formats.not_run(model, weights_dtype, gpu)
    return unread


def _runs(engine: str, gpu: Gpu, version: str | None = None) -> bool:
    if gpu.vendor == "NVIDIA":
        has = gpu.cuda_capability
        lacks = CUDA_WITHOUT.get(engine, ())
        return has is None or (has >= _least(engine, version) and has not in lacks)
    if gpu.vendor == "AMD":
        words = gpu.amd_names
        builds = AMD_BUILDS.get(engine, ())
        return any(word.startswith(builds) for word in words)
    return gpu.vendor == "custom" or gpu.vendor in OTHER_VENDORS[engine]


def _least(engine: str, version: str | None) -> float:
    """The compute capability that it needs."""
    changed, before = CUDA_BEFORE.get(engine, (0, 0.0))
    return before if version is not None and minor(version) < changed else CUDA_SINCE[engine]


def minor(version: str) -> int:
    """28 of 0.28.0."""
    parts = version.split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0
