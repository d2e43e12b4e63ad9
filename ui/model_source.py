"""From what a person gave (preset, configuration, Hub id) to a Model and its configuration."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from planner.errors import ConfigRefused, SizewellError
from planner.files.parts import depth_of, of_index
from planner.files.safetensors_header import read_index
from planner.files.weight_files import with_files
from planner.formats import modelopt
from planner.hf_config import parse
from planner.hf_config.document import INDEX, MAX_INDEX_BYTES, read_document
from planner.model import Model
from presets.models import PLACEHOLDER, ModelName, hub_id_of, load_model_config
from ui.options import model_names

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
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


def fetch_from_hub(hub_id: str) -> str:
    """The text of config.json of a repository, with the quantisation of a ModelOpt file beside it
    and what the index of its weights says. Raises ConfigRefused saying why there is none.

    Reads huggingface.co, with the token of the machine if it has one, and only when called.
    """
    wanted = hub_id.strip()
    if not HUB_ID.fullmatch(wanted):
        raise ConfigRefused(
            f"{wanted[:80]!r} is not a Hub id: it has the form organisation/name, such as "
            "Qwen/Qwen3-8B"
        )
    text = _from_hub(wanted, "config.json")
    if text is None:
        raise ConfigRefused(
            f"{wanted} has no config.json: it may hold adapters or GGUF files only."
        )
    if "quantization_config" not in text:
        beside = _from_hub(wanted, modelopt.FILE)
        if beside is not None:
            text = json.dumps(modelopt.quantised(read_document(text), read_document(beside)))
    listed = _from_hub(wanted, INDEX)
    if listed is None:
        return text
    index, config = read_index(read_document(listed, MAX_INDEX_BYTES)), read_document(text)
    if index.total_size is None:
        return text
    return json.dumps(with_files(config, of_index(INDEX, index, depth_of(config))))


def _from_hub(wanted: str, file: str) -> str | None:
    """The text of a file of a repository; None where the repository has no such file."""
    try:
        from huggingface_hub import errors, get_session, hf_hub_url, utils
    except ImportError:
        raise ConfigRefused(
            "reading the Hub needs the huggingface_hub package: install it, or paste the "
            "config.json"
        ) from None
    checks: Any = utils  # its names are loaded lazily, so that types do not see them
    try:
        url = hf_hub_url(wanted, file)
        answer = get_session().get(
            url, headers=checks.build_hf_headers(), timeout=10, follow_redirects=True
        )
        checks.hf_raise_for_status(answer)
        return str(answer.text)
    except errors.GatedRepoError:
        why = "is gated: accept its licence on the Hub and set HF_TOKEN, or paste its config.json"
    except errors.RepositoryNotFoundError:
        why = "does not exist on the Hub, or is private and needs HF_TOKEN"
    except errors.EntryNotFoundError:
        return None
    except Exception:  # the transport's own errors, whichever client the package uses
        why = "cannot be read: the Hub does not answer from here; paste its config.json instead"
    raise ConfigRefused(f"{wanted} {why}.")
