"""What papers report about forms of attention and kernels: published.json, each with its source."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from planner.frozen import Frozen

_FILE = Path(__file__).with_name("published.json")


class Quality(Frozen):
    """Scores of one model trained with several forms of attention."""

    paper: str
    source: str
    model: str
    measure: str
    scores: dict[str, float]
    note: str


class Remark(Frozen):
    """What a paper says of one form, where no score compares it with the others."""

    form: str
    text: str
    source: str


class FlashVersion(Frozen):
    """One version of FlashAttention: what it changed and the best rate it reports.

    gpu: the preset of the card it was measured on; numbers: in which format.
    """

    version: str
    year: int
    card: str
    gpu: str
    numbers: str
    flops_per_s: float
    source: str
    changed: str


def quality() -> tuple[Quality, ...]:
    return tuple(Quality(**entry) for entry in _document()["quality"])


def remarks() -> tuple[Remark, ...]:
    return tuple(Remark(**entry) for entry in _document()["remarks"])


def flash_versions() -> tuple[FlashVersion, ...]:
    """Oldest first."""
    return tuple(FlashVersion(**entry) for entry in _document()["flash"])


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document
