"""The model configurations of models/, one file each, named by the lower-case repository name.

A file is `{"id", "hub_id", "config_kind", "sources", "config"}`. Two repositories of one name are
told apart by `<organisation>--<name>.json` for the later one, and both are found by their Hub id.
`aliases.json` names repositories that share another one's configuration: `config_of` is that one's
id, `set` what differs. An alias without an organisation is a shorter name: its repository is
`hub_id`, or else that of `config_of`. A lookup opens the one file it needs.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner.errors import PlanRefused
from presets.suggestion import unknown_id

_FOLDER = Path(__file__).with_name("models")
_ALIASES = "aliases.json"
ELSE = (
    "`list models` on the command line has them all. Save its config.json and give the path, or "
    "read it in the page's Hub tab"
)
PLACEHOLDER = "/path/to/model"
"""Stands in a command for a model that no repository was named for."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


@dataclass(frozen=True)
class ModelName:
    """One line of a search result. `alias_of` is the id whose configuration is used, or None."""

    id: str
    hub_id: str
    alias_of: str | None = None


@dataclass(frozen=True)
class ModelSource:
    """Where a configuration comes from.

    `config_kind` is "verbatim" (a copy of the published file), "trimmed" (a copy without the
    fields that size nothing) or "transcribed" (its dimensions, from the sources named).
    """

    id: str
    hub_id: str
    config_kind: str
    sources: tuple[str, ...]


def load_model_config(id_or_hub_id: str) -> dict[str, Any]:
    """The `config.json` of a preset as a new dict, by id or Hub id in any case.

    Raises PlanRefused, with names spelt almost like it, when there is none.
    """
    text, changes = _find(id_or_hub_id)
    config: dict[str, Any] = json.loads(text)["config"]
    return config | changes


def load_model_source(id_or_hub_id: str) -> ModelSource:
    """Id, Hub id and sources of the configuration that `load_model_config` returns."""
    entry = json.loads(_find(id_or_hub_id)[0])
    return ModelSource(
        id=entry["id"],
        hub_id=entry["hub_id"],
        config_kind=entry["config_kind"],
        sources=tuple(entry["sources"]),
    )


def hub_id_of(reference: str) -> str | None:
    """The repository that a preset or alias stands for; None for a path or an unknown name."""
    wanted = reference.strip().lower()
    text = _file_of(wanted)
    if text is not None:
        return str(json.loads(text)["hub_id"])
    aliases = {alias.lower(): alias for alias in _alias_document()}
    short = {alias.rpartition("/")[2]: name for alias, name in aliases.items()}
    alias = aliases.get(wanted) or short.get(wanted)
    return None if alias is None else _hub_id(alias)


def served_name(reference: str) -> str:
    """What an engine downloads: the Hub id of a preset or alias, else a placeholder for a path."""
    return hub_id_of(reference) or PLACEHOLDER


def search(text: str = "") -> list[ModelName]:
    """Presets and aliases whose id or Hub id has every word of `text`, else those spelt alike.

    Names that start with the text come first, then presets before aliases, then by id.
    """
    wanted = text.lower().split()
    found = [
        name
        for name in all_names()
        if all(word in f"{name.id} {name.hub_id.lower()}" for word in wanted)
    ]
    if not found:
        from difflib import get_close_matches

        by_id = {name.id: name for name in all_names()}
        return [by_id[name] for name in get_close_matches(text.lower(), by_id, n=8, cutoff=0.4)]
    start = "-".join(wanted)
    return sorted(
        found,
        key=lambda name: (not name.id.startswith(start), name.alias_of is not None, name.id),
    )


@cache
def all_names() -> tuple[ModelName, ...]:
    """Every preset and alias. Reads all files once: for pages and messages, not for plans."""
    files = sorted(path for path in _FOLDER.glob("*.json") if path.name != _ALIASES)
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    names = [ModelName(entry["id"], entry["hub_id"]) for entry in entries]
    names += [
        ModelName(alias.lower().split("/")[-1], _hub_id(alias), entry["config_of"])
        for alias, entry in _alias_document().items()
    ]
    return tuple(names)


@cache
def _find(id_or_hub_id: str) -> tuple[str, dict[str, Any]]:
    """The text of the file that answers to this name, and the fields an alias sets otherwise."""
    wanted = id_or_hub_id.strip().lower()
    text = _file_of(wanted)
    if text is not None:
        return text, {}
    alias = _aliases().get(wanted)
    if alias is not None:
        return _read(alias["config_of"]), alias.get("set", {})
    raise _unknown(id_or_hub_id)


def _file_of(wanted: str) -> str | None:
    organisation, slash, name = wanted.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not _NAME.fullmatch(organisation)):
        return None
    if slash:
        for stem in (f"{organisation}--{name}", name):
            if (_FOLDER / f"{stem}.json").is_file():
                text = _read(stem)
                if json.loads(text).get("hub_id", "").lower() == wanted:
                    return text
        return None
    if f"{name}.json" != _ALIASES and (_FOLDER / f"{name}.json").is_file():
        return _read(name)
    return None


def _read(stem: str) -> str:
    return (_FOLDER / f"{stem}.json").read_text(encoding="utf-8")


@cache
def _alias_document() -> dict[str, dict[str, Any]]:
    aliases: dict[str, dict[str, Any]] = json.loads(_read("aliases"))["aliases"]
    return aliases


@cache
def _hub_id(alias: str) -> str:
    """The repository of an alias: itself, or the one that a shorter name is short for."""
    if "/" in alias:
        return alias
    entry = _alias_document()[alias]
    return str(entry.get("hub_id") or json.loads(_read(entry["config_of"]))["hub_id"])


@cache
def _aliases() -> dict[str, dict[str, Any]]:
    """Lower-case Hub id and lower-case repository name -> alias."""
    full = {alias.lower(): entry for alias, entry in _alias_document().items()}
    return {alias.rpartition("/")[2]: entry for alias, entry in full.items()} | full


def _unknown(given: str) -> PlanRefused:
    known = (name.hub_id.lower() if "/" in given else name.id for name in all_names())
    return unknown_id("model", given, known, ELSE)
