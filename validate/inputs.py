"""What checks are handed: the card as a plan sees it, and models by their names."""

from contextlib import suppress
from typing import Any

from planner.calibration import Calibration, MemoryCalibration
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.hardware import Gpu, custom_gpu, gpu_calibrated
from planner.hf_config import parse
from planner.model import Model
from planner.units import GIB
from planner.workload import Workload
from presets.gpus import all_gpus, load_gpu
from presets.models import load_model_config

REHEARSAL_CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128,
    "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 64, "vocab_size": 256, "max_position_embeddings": 512,
    "torch_dtype": "float16", "tie_word_embeddings": False, "rms_norm_eps": 1e-6,
    "hidden_act": "silu", "rope_theta": 10000.0,
}  # fmt: skip
SAME_CARD = 0.05
"""How far the memory of a card may be from a data file's entry of that name."""


def known_gpu(name: str, memory_bytes: int) -> Gpu | None:
    """The data file's entry for a card that calls itself `name`; None if it has none.

    "NVIDIA H100 80GB HBM3" is the SXM5 card, which only its memory tells from the PCIe one.
    """

    def fits(gpu: Gpu) -> bool:
        return abs(gpu.memory_bytes - memory_bytes) <= SAME_CARD * memory_bytes

    with suppress(PlanRefused):
        if fits(named := load_gpu(name)):
            return named
    words = [w for w in name.upper().replace("-", " ").split() if w not in ("NVIDIA", "GEFORCE")]
    fitting = [
        gpu
        for gpu in all_gpus()
        if words and words[0] in gpu.name.upper().replace("-", " ").split() and fits(gpu)
    ]
    matches = {
        gpu.id: sum(w in f"{gpu.name} {gpu.memory_type}".upper() for w in words) for gpu in fitting
    }
    return max(fitting, key=lambda gpu: matches[gpu.id], default=None)


def this_gpu(card: dict[str, Any], facts: dict[str, Any], date: str) -> Gpu:
    """The card under test with its real memory and whatever of it was measured so far."""
    memory = int(card.get("memory_bytes") or 0) or 64 * GIB
    gpu = known_gpu(str(card.get("name", "")), memory) or custom_gpu(memory)
    gpu = gpu.model_copy(update={"sm_count": card.get("sm_count") or gpu.sm_count})
    if "context_bytes" not in facts:
        return gpu.model_copy(update={"memory_bytes": memory})
    label = f"calibrated on this GPU ({card['name']}), {date}"
    overheads = MemoryCalibration(
        label=label,
        context_bytes=facts["context_bytes"],
        libraries_bytes=facts.get("libraries_bytes"),
    )
    return gpu_calibrated(
        gpu,
        Calibration(gpu_name=card["name"], date=date, memory_bytes=memory, memory=overheads),
    )


def model_of(name: str) -> Model:
    """A preset's model; "rehearsal" is a tiny one."""
    if name == "rehearsal":
        return parse(REHEARSAL_CONFIG, "rehearsal")
    return parse(load_model_config(name), name)


def resolve(arguments: dict[str, Any], needs: tuple[str, ...], gpu: Gpu) -> dict[str, Any]:
    """A check's arguments as its function takes them."""
    found = dict(arguments)
    if "gpu" in needs or "plan" in needs:
        found["gpu"] = gpu
    if "plan" in needs:
        found["model"] = model_of(found["model"])
        found["deployment"] = Deployment(**found.get("deployment", {}))
        if "workload" in found:
            found["workload"] = Workload(**found["workload"])
    if "sizes" in found and found.get("kernel"):
        found["sizes"] = [tuple(size) for size in found["sizes"]]
    return found
