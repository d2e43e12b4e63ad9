"""How a container reaches its cards, and which image of an engine has kernels for them.

Images are those that the projects publish: vllm/vllm-openai and vllm/vllm-openai-rocm,
lmsysorg/sglang, TensorRT-LLM's release container, and llama.cpp's server-cuda and server-rocm.
Kubernetes knows cards by their device plugin's name: NVIDIA's has one for each profile of a slice
(its mixed strategy), AMD's is amd.com/gpu.
"""

from typing import Any

from planner.engines.engine import EngineFigures
from planner.engines.registry import ENGINES
from planner.errors import PlanRefused
from planner.hardware import Gpu

ROCM_SINCE = 14
"""vLLM's first minor version with an image for AMD, vllm/vllm-openai-rocm:v0.14.0."""


def image(figures: EngineFigures, gpu: Gpu) -> str:
    """Raises PlanRefused where no image is known."""
    version = figures.version
    images = {
        ("NVIDIA", "vllm"): f"vllm/vllm-openai:v{version}",
        ("NVIDIA", "sglang"): f"lmsysorg/sglang:v{version}",
        ("NVIDIA", "tensorrt-llm"): f"nvcr.io/nvidia/tensorrt-llm/release:{_three(version)}",
        ("NVIDIA", "llama.cpp"): "ghcr.io/ggml-org/llama.cpp:server-cuda",
        ("AMD", "llama.cpp"): "ghcr.io/ggml-org/llama.cpp:server-rocm",
    }
    if figures.name == "vllm" and minor(version) >= ROCM_SINCE:
        images["AMD", "vllm"] = f"vllm/vllm-openai-rocm:v{version}"
    found = images.get((gpu.vendor, figures.name))
    if found is None and gpu.vendor == "custom":
        raise PlanRefused(
            "of a custom GPU only the memory is known, not whose drivers its image needs: choose "
            "the listed card that it is most like, and give your card's memory with it"
        )
    if found is None:
        raise PlanRefused(
            f"no image of {ENGINES[figures.name].label} {version} for {gpu.name} is known: start "
            "it by its command"
        )
    return found


def minor(version: str) -> int:
    """28 of 0.28.0."""
    parts = version.split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def _three(version: str) -> str:
    return version if version.count(".") >= 2 else f"{version}.0"


def resource(gpu: Gpu) -> str:
    """What Kubernetes calls the card."""
    if gpu.vendor == "AMD":
        return "amd.com/gpu"
    if gpu.stands_alone:
        return f"nvidia.com/mig-{gpu.id.rpartition('-mig-')[2].replace('+', '.')}"
    return "nvidia.com/gpu"


def compose_access(gpu: Gpu, gpus: int) -> dict[str, Any]:
    """What of a Compose service gives it its cards; all that the machine has on AMD's."""
    if gpu.vendor == "AMD":
        return {
            "devices": ["/dev/kfd:/dev/kfd", "/dev/dri:/dev/dri"],
            "group_add": ["video"],
            "security_opt": ["seccomp:unconfined"],
        }
    which: dict[str, Any] = {"count": gpus}
    if gpu.stands_alone:
        which = {"device_ids": ["${MIG_UUID:?of the slice, as nvidia-smi -L lists it}"]}
    device = {"driver": "nvidia", **which, "capabilities": ["gpu"]}
    return {"deploy": {"resources": {"reservations": {"devices": [device]}}}}
