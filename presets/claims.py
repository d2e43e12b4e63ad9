"""The numbers of claims.json that articles quote, in our words, with what the planner finds."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from planner.hf_config import parse
from planner.lessons.claims import Claim
from planner.lessons.quantities import Presets
from planner.model import Model
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of

_FILE = Path(__file__).with_name("claims.json")


def load_claims() -> tuple[Claim, ...]:
    """Every claim, in the order of the sources."""
    return tuple(Claim(**entry) for entry in _document()["claims"])


def claim_sources() -> dict[str, str]:
    """Short name of a source -> its title."""
    sources: dict[str, str] = _document()["sources"]
    return sources


def presets() -> Presets:
    """The presets that `planner.lessons.claims.recompute` looks up."""
    return Presets(_model, load_gpu, speed_of)


@cache
def _model(model_id: str) -> Model:
    return parse(load_model_config(model_id), model_id)


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document
