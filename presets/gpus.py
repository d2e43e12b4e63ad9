"""The accelerators of gpus.json.

gpus.json holds `{"sources": {key: text}, "gpus": {id: {field: value, ..., "sources": {field:
key}}}}`. An id is the slug of the name without GeForce, Tesla, Instinct, NVIDIA or AMD.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from planner.hardware import Gpu
from presets.slices import slice_ids, slice_of
from presets.suggestion import unknown_id

BRANDS = ("geforce", "tesla", "instinct", "nvidia", "amd")
OTHERWISE = "'custom' with --gpu-memory-bytes plans the memory of any other card"
_FILE = Path(__file__).with_name("gpus.json")


@cache
def load_gpu(gpu_id: str) -> Gpu:
    """The accelerator or slice of that id, any case. Raises PlanRefused naming the closest ids."""
    if (found := slice_of(load_gpu, gpu_id.lower())) is not None:
        return found
    entry = _entry(gpu_id)
    return Gpu(
        id=gpu_id.lower(),
        **{field: value for field, value in entry.items() if field != "sources"},
    )


@cache
def all_gpus() -> tuple[Gpu, ...]:
    """Every accelerator, in the order of the file: by vendor, data centre first, then by age."""
    return tuple(load_gpu(gpu_id) for gpu_id in gpu_ids())


def gpu_ids() -> tuple[str, ...]:
    """Every id, without validating a single entry."""
    return tuple(_document()["gpus"])


def all_slices() -> tuple[Gpu, ...]:
    """Every slice of a card that can be divided."""
    return tuple(load_gpu(slice_id) for slice_id in slice_ids())


def gpu_sources(gpu_id: str) -> dict[str, str]:
    """Field name -> where its figure was read or how it was computed.

    `memory_bytes` is not among them, since `Gpu.memory_source` says it; the fields in
    `Gpu.unverified` have none.
    """
    texts = _document()["sources"]
    return {field: texts[key] for field, key in _entry(gpu_id)["sources"].items()}


def _entry(gpu_id: str) -> dict[str, Any]:
    gpus: dict[str, dict[str, Any]] = _document()["gpus"]
    try:
        return gpus[gpu_id.lower()]
    except KeyError:
        known = (*gpus, *slice_ids())
        raise unknown_id("GPU", gpu_id, known, OTHERWISE, spelt=_slug(gpu_id)) from None


def _slug(name: str) -> str:
    """A product's name as an id spells it: 'NVIDIA GeForce RTX 4090' is 'rtx-4090'."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "-".join(word for word in words if word not in BRANDS)


@cache
def _document() -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document
