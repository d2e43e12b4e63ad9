"""Opened files of a model -> its configuration as text: a config.json, and what stands beside it.

Of weight files the first part is enough, because only the header is read.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from planner.errors import ConfigRefused, PlanRefused
from planner.files import gguf_header, safetensors_header
from planner.files.gguf_config import gguf_with_files
from planner.files.parts import depth_of, missing_of, of_headers, of_index
from planner.files.safetensors_header import read_index
from planner.files.weight_files import WeightFiles, with_files
from planner.formats import modelopt
from planner.formats.gguf_assignment import METHOD
from planner.hf_config.document import INDEX, read_document
from planner.units import counted, format_bytes
from ui.model_source import configuration
from ui.uploads import text_of

MAX_HEADER_MIB = 24
"""Within what the server takes. Most of a header is the vocabulary: 7.5 MiB in Llama 3.1's GGUF
files."""
HELP = (
    "A config.json, and with it the model.safetensors.index.json or the .safetensors files' first "
    "parts, for exact bytes. A .gguf file's first part alone is a whole model. 'head -c 24M FILE' "
    "cuts one, and 'curl -L -r 0-25165823 -o head.gguf URL' fetches no more than that."
)


def newest(batches: Sequence[Sequence[Any]]) -> list[Any]:
    """Of files opened in turn those that count: a model takes the place of one opened before it,
    with all that was opened beside that one."""
    found: list[Any] = []
    for batch in batches:
        if any(map(_is_model, batch)) and any(map(_is_model, found)):
            found = []
        found += batch
    return found


def _is_model(file: Any) -> bool:
    """Whether it is a model by itself, and does not only say more about one."""
    return not file.name.lower().endswith((".safetensors", INDEX, modelopt.FILE))


def configuration_of(files: Sequence[Any], before: str) -> str:
    """The configuration that the opened files make, or `before` with what the others add.

    Raises SizewellError, a sentence that names the file.
    """
    config: str | None = None
    beside: list[tuple[str, dict[str, Any]]] = []
    gguf, tensors = [], []
    for file in files:
        _check_size(file)
        if _head(file).startswith(gguf_header.MAGIC) or file.name.lower().endswith(".gguf"):
            gguf.append(file)
        elif file.name.lower().endswith(".safetensors"):
            tensors.append(file)
        elif file.name.endswith((INDEX, modelopt.FILE)):
            beside.append((file.name, _document(file)))
        elif config is None:
            config = text_of(file)
            _named(file, configuration)
        else:
            raise PlanRefused(f"{file.name} is a second configuration: take one of the two away")
    if gguf:
        if len(gguf) < len(files):
            raise PlanRefused(f"{gguf[0].name} is a whole model: open it without other files")
        gguf.sort(key=lambda file: str(file.name))
        headers = [_named(file, gguf_header.read_header) for file in gguf]
        return json.dumps(gguf_with_files(_name(gguf), headers), indent=1)
    if not beside and not tensors:
        return before if config is None else config
    return _joined(config or before, beside, tensors)


def name_of(files: Sequence[Any]) -> str:
    """What an engine loads of them: a GGUF file's own name, nothing of any other."""
    names = sorted(file.name for file in files if file.name.lower().endswith(".gguf"))
    return str(names[0]) if names else ""


def _joined(config: str, beside: list[tuple[str, dict[str, Any]]], tensors: list[Any]) -> str:
    """A configuration with its quantisation and weight files."""
    if not config.strip():
        first = beside[0][0] if beside else tensors[0].name
        raise PlanRefused(f"{first} says what tensors there are: open the config.json with it")
    whole = read_document(config)
    if _of_gguf(whole):
        raise PlanRefused(
            "the configuration that is open is a GGUF file's, which has its own tensors: open the "
            "config.json with these files"
        )
    found: WeightFiles | None = None
    for name, document in beside:
        if name.endswith(modelopt.FILE):
            whole = modelopt.quantised(whole, document)
            continue
        try:
            found = of_index(name, read_index(document), depth_of(whole))
        except ConfigRefused as refused:
            raise ConfigRefused(f"{name}: {refused}", refused.field) from None
    if tensors:
        headers = [_named(file, safetensors_header.read_header) for file in tensors]
        missing = missing_of([file.name for file in tensors]) if found is None else ""
        if missing:
            raise ConfigRefused(missing)
        held = of_headers(_name(tensors), headers, depth_of(whole))
        found = held if found is None or held.tensors >= found.tensors else found
    return json.dumps(whole if found is None else with_files(whole, found), indent=1)


def _of_gguf(config: Mapping[str, Any]) -> bool:
    """Whether a configuration was made of a GGUF file."""
    quantization = config.get("quantization_config")
    return isinstance(quantization, Mapping) and quantization.get("quant_method") == METHOD


def _name(files: Sequence[Any]) -> str:
    return str(files[0].name) if len(files) == 1 else counted(len(files), "file")


def _named(file: Any, read: Any) -> Any:
    try:
        return read(file.getvalue())
    except ConfigRefused as refused:
        raise ConfigRefused(f"{file.name}: {refused}", refused.field) from None


def _document(file: Any) -> dict[str, Any]:
    try:
        return read_document(file.getvalue(), MAX_HEADER_MIB * 2**20)
    except ConfigRefused as refused:
        raise ConfigRefused(f"{file.name}: {refused}", refused.field) from None


def _head(file: Any) -> bytes:
    return bytes(file.getvalue()[:4])


def _check_size(file: Any) -> None:
    if file.size > MAX_HEADER_MIB * 2**20:
        raise PlanRefused(
            f"{file.name} has {format_bytes(file.size)}: of a weight file give the first "
            f"{MAX_HEADER_MIB} MiB, which hold its header."
        )
