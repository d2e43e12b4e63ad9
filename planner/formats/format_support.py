"""Which number formats a card has kernels for.

    weights_support(gpu, "nvfp4")   # "native", "weight-only", "none", or None where unknown
    missing(gpu, weights, cache)    # the first format without kernels, as a sentence

native: multiplied as stored. weight-only: kernels exist that convert to 16 bits before each
multiplication, which saves memory and bandwidth but no arithmetic. llama.cpp's kernels take every
type of a GGUF file on every card that it runs on. Sources: vLLM's table of
quantisation hardware (0.14) and its notes on FP8 (0.32: computed from compute capability 8.9 and
on MI300, weight-only by Marlin from 7.5) and NVFP4 (computed from 10.0, else weight-only by
Marlin, which has no AMD build) and its recipe for gpt-oss (MXFP4 on MI300X, MI325X and Radeon AI
PRO R9700); FP8 and MXFP4 by AMD generation from the CDNA 3 and 4 data sheets.
"""

from collections.abc import Iterable
from typing import Literal

from planner.hardware import Gpu

Support = Literal["native", "weight-only", "none"]

NVIDIA: dict[str, tuple[float, float]] = {
    "fp8": (8.9, 7.5),
    "mxfp8": (10.0, 8.0),
    "nvfp4": (10.0, 8.0),
    "mxfp4": (10.0, 8.0),
    "int8": (7.5, 7.5),
}
"""Compute capability from which a format is native, and from which it runs at all."""
AMD: dict[str, tuple[str, ...]] = {
    "fp8": ("gfx942", "gfx950", "gfx1200", "gfx1201"),
    "mxfp8": ("gfx950",),
    "mxfp4": ("gfx950",),
    "nvfp4": (),
}
"""AMD architectures that multiply a format as stored."""
AMD_CONVERTING: dict[str, tuple[str, ...]] = {"mxfp4": ("gfx942", "gfx1200", "gfx1201")}
"""AMD architectures whose kernels convert it."""
GGUF_TOO = ("fp32", "fp16", "bf16", "mxfp4")
"""Formats of checkpoints that GGUF files have as well."""
NVIDIA_ONLY = ("nvfp4",)
NVIDIA_CACHES: dict[str, float] = {"fp8": 8.0, "nvfp4": 10.0}
"""Compute capability from which attention reads such a cache."""


def weights_support(gpu: Gpu, name: str) -> Support | None:
    """How `gpu` runs weights of the format `name` (as planner.formats.weight_formats names them).

    None where nothing is known of this vendor or format; formats without an entry are not judged.
    """
    family = _family(name)
    if gpu.vendor == "NVIDIA":
        limits, capability = NVIDIA.get(family), gpu.cuda_capability
        if limits is None or capability is None:
            return None
        native, least = limits
        if capability >= native:
            return "native"
        return "weight-only" if capability >= least else "none"
    if gpu.vendor == "AMD" and family in AMD:
        words = gpu.amd_names
        if not words:
            return None
        if set(words) & set(AMD[family]):
            return "native"
        return "weight-only" if set(words) & set(AMD_CONVERTING.get(family, ())) else "none"
    if gpu.vendor != "custom" and family in NVIDIA_ONLY:
        return "none"
    return None


def cache_support(gpu: Gpu, name: str) -> Support | None:
    """Whether attention on `gpu` reads a cache of that format; None where unknown."""
    family = _family(name)
    if gpu.vendor == "NVIDIA":
        least, capability = NVIDIA_CACHES.get(family), gpu.cuda_capability
        if least is None or capability is None:
            return None
        return "native" if capability >= least else "none"
    return weights_support(gpu, name)


def missing(gpu: Gpu, weights: Iterable[str], cache: str, *, llama_cpp: bool = False) -> str | None:
    """The first format that `gpu` has no kernels for, as a sentence; None where all have.

    llama_cpp: with those of llama.cpp, which leave only the formats that no GGUF file has.
    """
    for name in weights:
        if llama_cpp and name in GGUF_TOO:
            continue
        if weights_support(gpu, name) == "none":
            return f"{gpu.name} has no kernels for {name} weights"
    if cache_support(gpu, cache) == "none":
        return f"{gpu.name} has no kernels for a {cache} cache"
    return None


def lacks_bf16(gpu: Gpu) -> bool:
    """Whether an NVIDIA card is older than bfloat16, which came with compute capability 8.0."""
    capability = gpu.cuda_capability
    return gpu.vendor == "NVIDIA" and capability is not None and capability < 8.0


def _family(name: str) -> str:
    """fp8_block is fp8; packed integers (int8_g128, int4 ...) and lookups stay as they are."""
    for family in ("mxfp8", "mxfp4", "nvfp4", "fp8"):
        if name.startswith(family):
            return family
    return name
