"""Where a model comes from on the command line: a file, a folder, or a preset's id.

A folder with weight files, and a weight file itself, brings what their headers say.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planner.errors import ConfigRefused, PlanRefused
from planner.formats import modelopt
from planner.hf_config.document import INDEX, MAX_BYTES, WEIGHTS, read_document
from presets.heads import head_config, head_id
from presets.models import PLACEHOLDER, hub_id_of, load_model_config, served_name

if TYPE_CHECKING:
    from planner.model import Model


def read_file(path: Path) -> dict[str, Any]:
    """The configuration of a file or folder, with what the weight files there hold: of a GGUF file
    its own, of any other the config.json beside it."""
    from cli import weight_files

    if path.suffix == ".gguf" and not path.is_dir():
        return weight_files.read_gguf(path)
    if path.name == INDEX or (path.suffix == ".safetensors" and not path.is_dir()):
        if not path.with_name("config.json").is_file():
            raise ConfigRefused("it has no config.json beside it, which says what its tensors are")
        config = read_config(path.with_name("config.json"))
        return weight_files.with_files_of(path.parent, config, only=path)
    if path.is_dir() and not (path / "config.json").is_file():
        found = weight_files.gguf_in(path)
        if found is not None:
            return weight_files.read_gguf(found)
    config = read_config(path)
    if path.is_dir() or path.name == "config.json":
        folder = path if path.is_dir() else path.parent
        return weight_files.with_files_of(folder, config)
    return config


def read_config(path: Path) -> dict[str, Any]:
    """The configuration in a file, or in the config.json of a folder, with the quantisation that
    ModelOpt writes to a file beside it."""
    folder = path.is_dir()
    if folder:
        path = path / "config.json"
    if path.suffix in WEIGHTS:
        raise ConfigRefused("these are weights: give the config.json beside them")
    config = _document(path, folder)
    beside = path.with_name(modelopt.FILE)
    if path.name == "config.json" and modelopt.lacks(config) and beside.is_file():
        return modelopt.quantised(config, _document(beside))
    return config


def _document(path: Path, folder: bool = False) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return read_document(file.read(MAX_BYTES + 1))
    except OSError as error:
        if folder and isinstance(error, FileNotFoundError):
            raise ConfigRefused("it has no config.json") from None
        why = (error.strerror or "it cannot be read").lower()
        raise ConfigRefused(f"it cannot be read: {why}") from None


def read_model(
    reference: str, read: Callable[[Path], dict[str, Any]] = read_file
) -> dict[str, Any]:
    """The configuration that `reference` names: an existing path first, else a preset's id."""
    if not reference.strip():
        raise PlanRefused("the model has no name: give a preset, a Hub id or a config.json")
    path = Path(reference)
    if exists(path):
        try:
            return read(path)
        except ConfigRefused as refused:
            raise ConfigRefused(f"{path}: {refused}", refused.field) from None
    if path.suffix == ".json" or reference.startswith((".", "/", "~")):
        raise PlanRefused(f"{reference}: there is no such file")
    return load_model_config(reference)


def read_draft(reference: str, method: str, draft_tokens: int | None = None) -> "Model":
    """The model that drafts by `method`, named as --model names one."""
    from planner.engines.drafter import drafter

    head = None if exists(Path(reference)) else head_config(reference)
    return drafter(head or read_model(reference, read_config), reference, method, draft_tokens)


def named(reference: str) -> str:
    """What a command loads: a folder or GGUF file itself, a preset's Hub id, else a placeholder."""
    path = Path(reference)
    if exists(path):
        itself = path.is_dir() or path.suffix == ".gguf"
        return str(path.resolve()) if itself else PLACEHOLDER
    return head_id(reference) or served_name(reference)


def title(reference: str) -> str:
    """How a plan calls the model: a preset's Hub id, else what was given."""
    return reference if exists(Path(reference)) else hub_id_of(reference) or reference


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name no file can have is none."""
    try:
        return path.exists()
    except OSError:
        return False
