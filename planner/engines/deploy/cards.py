"""How a container reaches its cards, and which image of an engine has kernels for them.

Images are those that the projects publish: vllm/vllm-openai and vllm/vllm-openai-rocm,
lmsysorg/sglang, TensorRT-LLM's release container, and llama.cpp's server-cuda and server-rocm.
Kubernetes knows cards by their device plugin's name: NVIDIA's has one for each profile of a slice
(its mixed strategy), AMD's is amd.com/gpu.
"""

from typing import Any

from planner.engines.engine import EngineFigures
from planner.engines.platforms import minor
from planner.engines.registry import ENGINES
from planner.errors import PlanRefused
from planner.hardware import Gpu

ROCM_SINCE = 14
"""vLLM's first minor version with an image for AMD, vllm/vllm-openai-rocm:v0.14.0."""
ORIN, ORIN_SINCE = 8.7, 20
"""A Jetson Orin's compute capability, and the minor version of vLLM from which NVIDIA runs vLLM's
own image there, under JetPack 7.2 or newer (NVIDIA/skills, jetson-llm-serve). Its kernels for 8.7
are in the arm64 wheels that were read, 0.20.2 to 0.33.0."""
ORIN_NEEDS = "A Jetson Orin needs JetPack 7.2 or newer for this image."
ORIN_IMAGES = {
    "vllm": "NVIDIA's ghcr.io/nvidia-ai-iot/vllm:latest-jetson-orin has a version of its own",
    "sglang": "build one with jetson-containers, as SGLang's documentation has it",
    "llama.cpp": "NVIDIA's ghcr.io/nvidia-ai-iot/llama_cpp:latest-jetson-orin has a llama-server",
}
"""What there is instead for a Jetson Orin (docs.sglang.io, hardware-platforms/nvidia_jetson)."""


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
    if is_orin(gpu) and not (figures.name == "vllm" and minor(version) >= ORIN_SINCE):
        instead = ORIN_IMAGES.get(figures.name)
        raise PlanRefused(
            f"no image of {ENGINES[figures.name].label} {version} is published for {gpu.name}"
            + ("" if instead is None else f": {instead}")
        )
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


def is_orin(gpu: Gpu) -> bool:
    """Whether it is a Jetson Orin, whose containers see the GPU by NVIDIA's runtime."""
    return gpu.vendor == "NVIDIA" and gpu.cuda_capability == ORIN


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
    if is_orin(gpu):
        return {"runtime": "nvidia"}
    which: dict[str, Any] = {"count": gpus}
    if gpu.stands_alone:
        which = {"device_ids": ["${MIG_UUID:?of the slice, as nvidia-smi -L lists it}"]}
    device = {"driver": "nvidia", **which, "capabilities": ["gpu"]}
    return {"deploy": {"resources": {"reservations": {"devices": [device]}}}}
