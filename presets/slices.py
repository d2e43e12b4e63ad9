"""Slices of a card: the MIG instances of slices.json, each as an accelerator of its own.

    slice_ids()                                    # "h100-sxm5-80gb-mig-1g.10gb", ...
    slice_of(load_gpu, "h100-sxm5-80gb-mig-3g.40gb")

A slice has what nvidia-smi lists as its memory and multiprocessors, and of bandwidth and cache its
share of the card's memory slices. It has no link to another slice.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from planner.hardware import Gpu
from planner.units import GIB

JOINED = "-mig-"
BY_PROCESSORS = (
    "fp32_flops_per_s", "fp16_flops_per_s", "bf16_flops_per_s", "fp8_flops_per_s",
    "int8_ops_per_s", "fp4_flops_per_s",
)  # fmt: skip
BY_MEMORY = ("memory_bandwidth_bytes_per_s", "l2_bytes")
_FILE = Path(__file__).with_name("slices.json")


@cache
def slice_ids() -> tuple[str, ...]:
    """Every slice, in the order of the file."""
    return tuple(
        f"{card}{JOINED}{profile}" for card in _cards() for profile in _entry(card)["slices"]
    )


def slice_of(load: Callable[[str], Gpu], slice_id: str) -> Gpu | None:
    """The slice of that id, of a card that `load` gives; None for an id that is none."""
    card_id, joined, profile = slice_id.partition(JOINED)
    if not joined or card_id not in _cards() or profile not in _entry(card_id)["slices"]:
        return None
    card, entry = load(card_id), _entry(card_id)
    gibibytes, processors, parts = entry["slices"][profile]
    source = _document()["sources"][entry["source"]]
    size = int(gibibytes * GIB)
    changes: dict[str, Any] = {
        name: _share(getattr(card, name), processors, card.sm_count) for name in BY_PROCESSORS
    }
    changes |= {name: _share(getattr(card, name), parts, entry["parts"]) for name in BY_MEMORY}
    return card.model_copy(
        update={
            **changes,
            "id": slice_id,
            "name": f"{card.name} MIG {profile}",
            "memory_bytes": size,
            "memory_source": f"{gibibytes:g} GiB, {source}",
            "memory_driver_bytes": size,
            "memory_marketed_gb": float(profile.partition(".")[2].removesuffix("gb")),
            "sm_count": processors,
            "nvlink_bidirectional_bytes_per_s": None,
            "tdp_w": None,
            "stands_alone": True,
            "notes": (*card.notes, _document()["sources"]["fractions"]),
        }
    )


def _share(whole: int | None, part: int, of: int | None) -> int | None:
    return None if whole is None or of is None else whole * part // of


def _cards() -> dict[str, dict[str, Any]]:
    cards: dict[str, dict[str, Any]] = _document()["cards"]
    return cards


def _entry(card_id: str) -> dict[str, Any]:
    entry = _cards()[card_id]
    return _entry(entry["same_as"]) if "same_as" in entry else entry


@cache
def _document() -> dict[str, dict[str, Any]]:
    document: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document
