"""The accelerators of gpus.json.

gpus.json holds `{"sources": {key: text}, "reported": {name: id}, "gpus": {id: {field: value, ...,
"sources": {field: key}}}}`. An id is the slug of the name without GeForce, Tesla, Instinct, NVIDIA
or AMD. reported: names by which drivers and shops call a card that say something else or less than
its id does (device names of vllm-project/vllm's fused_moe/configs: NVIDIA_H100_80GB_HBM3,
NVIDIA_H200; of GH200 the source of its link; of the others lists of devices in public logs).
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from planner.hardware import Gpu
from presets.slices import slice_ids, slice_of
from presets.suggestion import unknown_id

BRANDS = (
    "geforce", "tesla", "instinct", "nvidia", "amd", "intel", "generation", "edition", "gpu",
    "graphics",
)  # fmt: skip
FAMILIES = ("apple", "arc", "gtx", "radeon", "rtx", "rx")
OTHERWISE = (
    "`list gpus` on the command line has them all, and 'custom' with --gpu-memory-bytes plans the "
    "memory of any other card"
)
_FILE = Path(__file__).with_name("gpus.json")


@cache
def load_gpu(gpu_id: str) -> Gpu:
    """The accelerator or slice of that id, any case, or the only one that the words name.

    'rtx4090' is the whole name of one without its hyphen, '4090' without its family, 'rtx 3060'
    without its size, 'rtx-3090-24gb' with the size it is sold by; 'b200' is the one card with that
    word; 'h100' is several.
    Raises PlanRefused naming the closest ids.
    """
    if (found := slice_of(load_gpu, gpu_id.lower())) is not None:
        return found
    known = _id(gpu_id)
    return Gpu(
        id=known,
        **{field: value for field, value in _entry(known).items() if field != "sources"},
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
    found: dict[str, Any] = _document()["gpus"][_id(gpu_id)]
    return found


def _id(name: str) -> str:
    """The id that a name stands for."""
    ids, slug = gpu_ids(), _slug(name)
    reported: str | None = _document()["reported"].get(" ".join(name.lower().split()))
    if reported is not None or name.lower() in ids:
        return reported or name.lower()
    words, joined = set(slug.split("-")), slug.replace("-", "")
    alike = [i for i in ids if joined in _whole_names(i)] or (
        [i for i in ids if words <= {*i.split("-"), _sold(i)}]
        if any(map(_says_which, words))
        else []
    )
    if len(alike) != 1:
        raise unknown_id("GPU", name, (*ids, *slice_ids()), OTHERWISE, spelt=slug)
    return alike[0]


@cache
def _whole_names(gpu_id: str) -> frozenset[str]:
    """The id without hyphens: with and without its size, with and without its family."""
    words = gpu_id.split("-")
    sized = words[-1].endswith("gb")
    bare = words[:-1] if sized else words
    names = set()
    while bare:
        names |= {"".join(bare), "".join(bare) + (words[-1] if sized else _sold(gpu_id))}
        if bare[0] not in FAMILIES:
            break
        bare = bare[1:]
    return frozenset(names)


def _sold(gpu_id: str) -> str:
    """The size it is sold by, as a word: 24gb."""
    return f"{_document()['gpus'][gpu_id].get('memory_marketed_gb') or 0:g}gb"


def _says_which(word: str) -> bool:
    """Whether a word names a model and not a size or a brand."""
    return any(c.isdigit() for c in word) and not word.endswith("gb")


def _slug(name: str) -> str:
    """A product's name as an id spells it: 'NVIDIA GeForce RTX 4090' is 'rtx-4090'."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"\((r|tm)\)", "", name.lower()))
    return "-".join(word for word in words if word not in BRANDS)


@cache
def _document() -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document
