"""Weight files on disk: their headers, read through a map of the file and never the whole of it."""

import re
from collections.abc import Callable, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, TypeVar

from planner.errors import ConfigRefused
from planner.files import gguf_header, safetensors_header
from planner.files.gguf_config import gguf_with_files
from planner.files.gguf_header import GgufHeader
from planner.files.parts import depth_of, missing_of, of_headers, of_index, one_set, set_of
from planner.files.safetensors_header import FileHeader, Index, read_index
from planner.files.weight_files import with_files
from planner.hf_config.document import INDEX, MAX_INDEX_BYTES, read_document
from planner.units import counted

Header = TypeVar("Header", FileHeader, GgufHeader)

PART = re.compile(r"(.*)-\d{5}-of-\d{5}\.gguf")
"""How llama-gguf-split names the parts of a file."""
POINTER = b"version https://git-lfs"
"""How a file begins that stands for one that git has not fetched."""
TOWER_ARCHITECTURE = "clip"
"""general.architecture of the towers that llama.cpp keeps in a file of their own."""
MOST_NAMED = 4


def with_files_of(
    folder: Path, config: Mapping[str, Any], only: Path | None = None
) -> dict[str, Any]:
    """The configuration with what the .safetensors files of its folder hold, where there are any
    that belong together. only: the file or index that was asked for.

    Raises ConfigRefused for a header that is broken.
    """
    index = folder / INDEX
    listed = index_of(index) if index.is_file() else None
    if listed is not None and (only is None or only.name in (INDEX, *listed.files)):
        paths = [folder / name for name in sorted(listed.files)]
        there = [path for path in paths if _is_here(path)]
        if there != paths and listed.total_size is None and only is None:
            return dict(config)
        if there != paths:
            name = f"{INDEX} ({len(there)} of its {counted(len(paths), 'file')} are here)"
            return with_files(config, of_index(name, listed, depth_of(config)))
    else:
        here = [path.name for path in sorted(folder.glob("*.safetensors")) if _is_here(path)]
        names = one_set(here) if only is None else set_of(only.name, here)
        paths = [folder / name for name in names]
        if missing := missing_of([path.name for path in paths]):
            raise ConfigRefused(missing)
    if not paths:
        return dict(config)
    headers, cut = _headers(paths, safetensors_header.read_header)
    name = paths[0].name if len(paths) == 1 else f"{len(paths)} .safetensors files"
    return with_files(config, of_headers(name, headers, depth_of(config), cut))


def index_of(path: Path) -> Index:
    """An index file. Raises ConfigRefused naming it."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_INDEX_BYTES + 1)
        return read_index(read_document(text, MAX_INDEX_BYTES))
    except ConfigRefused as refused:
        raise ConfigRefused(f"{path.name}: {refused}", refused.field) from None
    except OSError as error:
        raise _unreadable(path, error) from None


def _is_here(path: Path) -> bool:
    """Whether there is such a file, and not only git's pointer to it."""
    try:
        with path.open("rb") as file:
            return file.read(len(POINTER)) != POINTER
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ConfigRefused:
    why = (error.strerror or "no reason given").lower()
    return ConfigRefused(f"{path.name}: it cannot be read: {why}")


def read_gguf(path: Path) -> dict[str, Any]:
    """The configuration that a .gguf file holds, all parts of a split one together."""
    split = PART.fullmatch(path.name)
    paths = [path] if split is None else _parts(path.parent, split[1])
    headers, cut = _headers(paths, gguf_header.read_header)
    name = path.name if len(paths) == 1 else f"{len(paths)} parts of {split and split[1]}.gguf"
    return gguf_with_files(name, headers, cut)


def gguf_in(folder: Path) -> Path | None:
    """The one GGUF model of a folder, towers aside; None without one. Raises ConfigRefused where
    there are several to choose from."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.gguf")):
        split = PART.fullmatch(path.name)
        found.setdefault(path.name if split is None else split[1], path)
    if len(found) > 1:
        first = {path: _headers([path], gguf_header.read_header)[0][0] for path in found.values()}
        found = {
            path.name: path
            for path, header in first.items()
            if header.metadata.get("general.architecture") != TOWER_ARCHITECTURE
        }
    if len(found) > 1:
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        names = ", ".join(path.name for path in list(found.values())[:MOST_NAMED])
        raise ConfigRefused(f"it holds {len(found)} GGUF models: name one ({names}{more})")
    return next(iter(found.values()), None)


def _parts(folder: Path, stem: str) -> list[Path]:
    return sorted(
        p for p in folder.glob("*.gguf") if (m := PART.fullmatch(p.name)) and m[1] == stem
    )


def _headers(
    paths: Sequence[Path], read: Callable[[mmap], Header]
) -> tuple[list[Header], list[str]]:
    """The headers of files, and the names of those that end before their tensors do."""
    headers, cut = [], []
    for path in paths:
        try:
            with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
                if data[: len(POINTER)] == POINTER:
                    raise ConfigRefused("git has not fetched this file: run 'git lfs pull'")
                header = read(data)
                if header.size > len(data):
                    cut.append(path.name)
        except ConfigRefused as refused:
            raise ConfigRefused(f"{path.name}: {refused}", refused.field) from None
        except ValueError:
            raise ConfigRefused(f"{path.name}: it is empty") from None
        except OSError as error:
            raise _unreadable(path, error) from None
        headers.append(header)
    return headers, cut
