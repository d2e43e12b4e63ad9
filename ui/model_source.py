"""From what a person gave (preset, configuration, Hub id) to a Model and its configuration."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from planner.errors import ConfigRefused, SizewellError
from planner.hf_config import parse
from planner.hf_config.document import read_document
from planner.model import Model
from presets.models import PLACEHOLDER, ModelName, hub_id_of, load_model_config
from ui.options import model_names

PASTED = "Your config.json"


def name_in_command(source: str) -> str:
    """What an engine loads: the Hub id of a preset, the name or path that was given, or else a
    placeholder."""
    return PLACEHOLDER if source == PASTED else hub_id_of(source) or source


class NothingYet(SizewellError):
    """Nothing was given so far: a hint and not a mistake."""


@dataclass(frozen=True)
class ModelChoice:
    """A model and the configuration it was read from; preset: its id, if it is one."""

    model: Model
    config: dict[str, Any]
    preset: str | None = None


@lru_cache(maxsize=64)
def from_preset(model_id: str) -> ModelChoice:
    """The preset of that id. The same object every time, so that plans of it are compiled once."""
    name = model_names()[model_id]
    config = load_model_config(name.hub_id)
    return ModelChoice(parse(config, name.hub_id), config, model_id)


@lru_cache(maxsize=8)
def from_text(text: str, source: str = PASTED) -> ModelChoice:
    """The model of a configuration as text. Raises ConfigRefused, one sentence."""
    if not text.strip():
        raise NothingYet("Paste a model's config.json, or open the file, to plan it.")
    config = configuration(text)
    return ModelChoice(parse(config, source), config)


def configuration(text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`, whatever its fields say. Raises ConfigRefused."""
    config = read_document(text)
    if "schema_version" in config and "model_type" not in config:
        raise ConfigRefused(
            "this is a saved plan and not a model's config.json: open it under 'Open a saved plan'"
        )
    return config


def preset_of(source: str, config: dict[str, Any] | None) -> str | None:
    """The preset that a saved plan was made from, or None if it was another configuration."""
    wanted = source.lower()
    for model_id, name in _shorter_last():
        if wanted in (model_id, name.hub_id.lower()) and (
            config is None or _same(config, load_model_config(name.hub_id))
        ):
            return model_id
    return None


def _same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def hub_preset(hub_id: str) -> str | None:
    """The preset of a repository, so that a well-known one needs no network."""
    wanted = hub_id.strip().lower()
    return next((i for i, name in _shorter_last() if name.hub_id.lower() == wanted), None)


def _shorter_last() -> list[tuple[str, ModelName]]:
    """Presets by id; names that are short for another come after all others."""
    return sorted(
        model_names().items(), key=lambda item: item[0] not in item[1].hub_id.lower().split("/")
    )
