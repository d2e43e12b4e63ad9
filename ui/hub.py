"""The configuration of a repository of the Hub, and what its weight files hold.

Reads huggingface.co, with the token of the machine if it has one, and only when called.
"""

import json
import re
from typing import Any

from planner.errors import ConfigRefused
from planner.files import safetensors_header
from planner.files.parts import depth_of, of_headers, of_index, one_set
from planner.files.safetensors_header import FileHeader, read_index
from planner.files.weight_files import WeightFiles, with_files
from planner.formats import modelopt
from planner.hf_config.document import INDEX, MAX_INDEX_BYTES, read_document
from planner.units import counted

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
FIRST_BYTES = 2**17
"""Most headers are shorter."""
MOST_HEADER_BYTES = 2**25
MOST_FILES = 64
"""Without an index, which every larger checkpoint has."""


def fetch_from_hub(hub_id: str) -> str:
    """The text of config.json of a repository, with the quantisation of a ModelOpt file beside it
    and what its weight files hold, by their index or else by their headers. Raises ConfigRefused
    saying why there is none.
    """
    wanted = hub_id.strip()
    if not HUB_ID.fullmatch(wanted):
        raise ConfigRefused(
            f"{wanted[:80]!r} is not a Hub id: it has the form organisation/name, such as "
            "Qwen/Qwen3-8B"
        )
    text = _text(wanted, "config.json")
    if text is None:
        raise ConfigRefused(
            f"{wanted} has no config.json: it may hold adapters or GGUF files only."
        )
    if "quantization_config" not in text:
        beside = _text(wanted, modelopt.FILE)
        if beside is not None:
            text = json.dumps(modelopt.quantised(read_document(text), read_document(beside)))
    depth = depth_of(read_document(text))
    listed = _text(wanted, INDEX)
    found = _by_headers(wanted, depth) if listed is None else _by_index(listed, depth)
    return text if found is None else json.dumps(with_files(read_document(text), found))


def _by_index(listed: str, depth: int | None) -> WeightFiles | None:
    index = read_index(read_document(listed, MAX_INDEX_BYTES))
    return None if index.total_size is None else of_index(INDEX, index, depth)


def _by_headers(wanted: str, depth: int | None) -> WeightFiles | None:
    """What the files of one checkpoint hold; None where none of them belong together, or where the
    Hub does not give their first parts."""
    try:
        names = one_set(name for name in _names(wanted) if name.endswith(".safetensors"))
        parts = [_first_part(wanted, name) for name in names[:MOST_FILES]]
    except ConfigRefused:
        return None
    if not names or len(names) > MOST_FILES:
        return None
    headers = [_header(name, part) for name, part in zip(names, parts, strict=True)]
    name = names[0] if len(names) == 1 else counted(len(names), ".safetensors file")
    return of_headers(name, headers, depth)


def _names(wanted: str) -> list[str]:
    """The files of a repository that stand in no folder."""
    answer = _asked(wanted, None)
    listed = [] if answer is None else answer.json().get("siblings")
    names = [entry.get("rfilename") for entry in listed or [] if isinstance(entry, dict)]
    return [name for name in names if isinstance(name, str) and "/" not in name]


def _first_part(wanted: str, name: str) -> bytes:
    """The first bytes of a weight file, with all of its header."""
    data = _first(wanted, name, FIRST_BYTES)
    length = 8 + int.from_bytes(data[:8], "little")
    return _first(wanted, name, length) if FIRST_BYTES < length <= MOST_HEADER_BYTES else data


def _first(wanted: str, name: str, size: int) -> bytes:
    answer = _asked(wanted, name, f"bytes=0-{size - 1}")
    return b"" if answer is None else bytes(answer.content[:size])


def _header(name: str, data: bytes) -> FileHeader:
    try:
        return safetensors_header.read_header(data)
    except ConfigRefused as refused:
        raise ConfigRefused(f"{name}: {refused}", refused.field) from None


def _text(wanted: str, file: str) -> str | None:
    """The text of a file of a repository; None where the repository has no such file."""
    answer = _asked(wanted, file)
    return None if answer is None else str(answer.text)


def _asked(wanted: str, file: str | None, part: str | None = None) -> Any:
    """The answer for a file of a repository, or for the repository itself; None where it has no
    such file. part: the bytes that are wanted of it, an answer with more is refused."""
    try:
        from huggingface_hub import constants, errors, get_session, hf_hub_url, utils
    except ImportError:
        raise ConfigRefused(
            "reading the Hub needs the huggingface_hub package: install it, or paste the "
            "config.json"
        ) from None
    checks: Any = utils  # its names are loaded lazily, so that types do not see them
    ranged = {} if part is None else {"Range": part}
    why = "cannot be read: the Hub does not answer from here; paste its config.json instead"
    try:
        url = f"{constants.ENDPOINT}/api/models/{wanted}"
        if file is not None:
            url = hf_hub_url(wanted, file)
        with get_session().stream(
            "GET", url, headers=checks.build_hf_headers() | ranged, timeout=10,
            follow_redirects=True,
        ) as answer:  # fmt: skip
            if part is None or answer.status_code == 206 or answer.status_code >= 400:
                answer.read()
                checks.hf_raise_for_status(answer)
                return answer
    except errors.GatedRepoError:
        why = "is gated: accept its licence on the Hub and set HF_TOKEN, or paste its config.json"
    except errors.RepositoryNotFoundError:
        why = "does not exist on the Hub, or is private and needs HF_TOKEN"
    except errors.EntryNotFoundError:
        return None
    except Exception:  # the transport's own errors, whichever client the package uses
        pass
    raise ConfigRefused(f"{wanted} {why}.")
