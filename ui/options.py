"""What can be chosen: ids as the command line and links spell them, common ones first."""

import re
from functools import cache

from planner.formats.dtypes import KV_FORMATS
from planner.formats.dtypes import kv_format as kv_format_of
from planner.formats.gguf_mixes import BASE
from planner.formats.weight_formats import GGUF, NAMED
from presets.gpus import gpu_ids, load_gpu
from presets.models import ModelName, all_names
from presets.slices import slice_ids

CUSTOM_GPU = "custom"


@cache
def model_names() -> dict[str, ModelName]:
    """Every preset and alias by id; where two repositories share a name, by Hub id."""
    found: dict[str, ModelName] = {}
    for name in all_names():
        found.setdefault(name.id if name.id not in found else name.hub_id.lower(), name)
    return dict(sorted(found.items()))


@cache
def model_label(model_id: str) -> str:
    """'Llama 3.1 8B · llama-3.1-8b': what people type, then what commands take."""
    words = re.sub(r"[-_]+", " ", model_names()[model_id].hub_id.rpartition("/")[2])
    return f"{words} · {model_id}"


@cache
def gpu_options() -> tuple[str, ...]:
    """Every accelerator's id, slices of them, and one for a card that is not listed."""
    return (*gpu_ids(), *slice_ids(), CUSTOM_GPU)


@cache
def gpu_label(gpu_id: str) -> str:
    """'NVIDIA GeForce RTX 4090 24 GB · rtx-4090': what people type, then what commands take."""
    if gpu_id == CUSTOM_GPU:
        return "Another card, by its memory · custom"
    gpu = load_gpu(gpu_id)
    name, size = gpu.name.replace("-", " "), f"{gpu.memory_marketed_gb or 0:g}"
    maker = "" if name.startswith(gpu.vendor) else f"{gpu.vendor} "
    sold = "" if re.search(rf"\b{size} ?gb", name.lower()) else f" {size} GB"
    return f"{maker}{name}{sold} · {gpu_id}"


@cache
def weight_options() -> tuple[str, ...]:
    """Weight formats: the model's own, the ones engines load, then GGUF file and tensor types."""
    engines = [name for name in NAMED if name not in GGUF]
    return tuple(dict.fromkeys(("auto", *engines, *BASE, *GGUF)))


@cache
def kv_options() -> tuple[str, ...]:
    """Cache formats, the model's own first."""
    return ("auto", *KV_FORMATS)


def describe_weights(name: str) -> str:
    """What a weight format is, in a few words."""
    if name == "auto":
        return "as the configuration says"
    if name in NAMED and name not in BASE:
        return f"{NAMED[name].description}; {NAMED[name].bits_per_weight:.3g} bits a weight"
    return "GGUF file type, mixed as llama.cpp mixes it"


def describe_kv(name: str, own: str) -> str:
    """What a cache format is, in a few words."""
    found = kv_format_of(name, own)
    return f"{found.description}; {found.bits_per_element:.3g} bits an element"
