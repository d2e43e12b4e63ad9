"""`inspect`: what a configuration says about parameters and cache, or why it is refused."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cli.source import exists, read_file, read_model
from planner.errors import ConfigRefused, PlanRefused, SizewellError
from planner.formats.dtypes import kv_format
from planner.hf_config import parse
from planner.kv_cache import cache_terms, state_bytes, whole
from planner.model import Model, kind_name
from planner.parameters import count, in_words, parts
from planner.units import format_bytes, format_tokens

CONTEXTS = (1024, 8192, 32768, 131072)


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "configs", nargs="+", metavar="CONFIG", help="config.json, folder, .gguf file or id"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with status 1 if a configuration is refused"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> str:
    """One entry per configuration, in order; a refused one does not stop the others.

    Raises PlanRefused where nothing has any of the names.
    """
    unknown = [why for why in map(_unknown, arguments.configs) if why is not None]
    if len(unknown) == len(arguments.configs):
        raise PlanRefused("; ".join(why.rstrip(".") for why in unknown))
    entries = [entry(source) for source in arguments.configs]
    refused = any(found["status"] == "refused" for found in entries)
    arguments.status = int(arguments.exit_code and refused)
    if arguments.format == "json":
        return json.dumps(entries, indent=1) + "\n"
    return "\n".join(as_text(e) for e in entries)


def _unknown(source: str) -> str | None:
    """Why nothing has that name; None where something has it, readable or not."""
    if source and exists(Path(source)):
        return None
    try:
        read_model(source)
    except SizewellError as error:
        return str(error)
    return None


def entry(source: str) -> dict[str, Any]:
    """The answer for one configuration, whatever is wrong with it."""
    try:
        path = Path(source)
        config = read_file(path) if source and exists(path) else read_model(source)
        model = parse(config, source)
        return {"source": source, "status": "ok", "reason": None, **figures(model)}
    except SizewellError as error:
        return {
            "source": source,
            "status": "refused",
            "reason": str(error),
            "parameters": None,
            "shares": None,
            "layers": None,
            "kv_cache": None,
        }


def figures(model: Model) -> dict[str, Any]:
    """Parameters, layers by kind, and the bf16 cache of one sequence, windows used."""
    parameters = count(model)
    terms = cache_terms(whole(model), kv_format("bf16"))
    growing = [t for t in terms if t.window is None]
    return {
        "parameters": {
            "total": parameters.total,
            "active": parameters.active,
            "embedding": parameters.embedding,
            "mtp": parameters.mtp,
            "towers": parameters.towers,
            "parts": asdict(parts(model)),
        },
        "shares": parts(model).shares(),
        "layers": model.layer_counts,
        "kv_cache": {
            "bytes_per_token": sum(t.bytes_per_entry // t.stride for t in terms),
            "bytes_per_token_past_windows": sum(t.bytes_per_entry // t.stride for t in growing),
            "bytes_at": {str(n): sum(t.bytes(n) for t in terms) for n in CONTEXTS},
            "state_bytes": state_bytes(whole(model), "bfloat16"),
        },
        "not_counted": list(model.parameters_elsewhere),
        "files": beside(model),
    }


def beside(model: Model) -> dict[str, Any] | None:
    """What the weight files hold, beside the model's weights; None where none were read.

    Raises ConfigRefused where a GGUF file's tensors are not what its metadata make.
    """
    from planner.export import files_data
    from planner.files.comparison import compare
    from planner.formats.gguf_assignment import held_in_gguf
    from planner.formats.quantization import assign

    if model.files is None:
        return None
    try:
        found = compare(model, "auto", assign(model, "auto"))
    except ConfigRefused as refused:
        if held_in_gguf(model, "auto"):
            raise
        size = f"{model.files.name} holds {format_bytes(model.files.bytes)} of tensors"
        return {**model.files.model_dump(mode="json"), "sentence": f"{size}. {refused}"}
    return {**(files_data(found) or {}), "sentence": found.sentence if found else ""}


def as_text(found: dict[str, Any]) -> str:
    """One entry for a terminal."""
    if found["status"] == "refused":
        return f"{found['source']}\n  refused: {found['reason']}\n"
    parameters, cache = found["parameters"], found["kv_cache"]
    layers = ", ".join(f"{n} {kind_name(kind)}" for kind, n in found["layers"].items())
    at = ", ".join(
        f"{format_bytes(size)} at {format_tokens(int(n))}" for n, size in cache["bytes_at"].items()
    )
    lines = [
        found["source"],
        f"  parameters  {parameters['total']:,} ({parameters['active']:,} active, "
        f"{parameters['embedding']:,} in the embedding)",
        f"  of which    {in_words(found['shares'])}",
        f"  layers      {layers}",
        f"  KV cache    {cache['bytes_per_token']:,} B per token (bf16): {at}",
    ]
    if cache["state_bytes"]:
        state = format_bytes(cache["state_bytes"])
        lines.append(f"  state       {state} per sequence, of a bf16 model")
    if parameters["towers"]:
        lines.append(f"  tower       {parameters['towers']:,} parameters beside the text decoder")
    if found["not_counted"]:
        lines.append(f"  not counted {', '.join(found['not_counted'])}")
    if found["files"]:
        lines.append(f"  files       {found['files']['sentence']}")
    return "\n".join(lines) + "\n"
