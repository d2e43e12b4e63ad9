"""`extend`: whether scaled rotary positions reach a longer context, and what sets them."""

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from cli.deployment_flags import tokens
from cli.source import read_model, title
from planner.engines.extended_commands import commands
from planner.hf_config import parse
from planner.rope.extension import METHODS, Extension, extend
from planner.rope.published import claims
from planner.rope.words import headline, lines

Told = tuple[tuple[str, str, str], ...]


def add_to(parser: ArgumentParser) -> None:
    """The command's flags."""
    parser.add_argument(
        "--model",
        required=True,
        metavar="ID|PATH",
        help="a preset's id or Hub id, a file or a folder",
    )
    parser.add_argument(
        "--context", required=True, type=tokens, metavar="N", help="tokens wanted, such as 128k"
    )
    parser.add_argument("--method", choices=METHODS, default="yarn")
    parser.add_argument(
        "--original", type=tokens, metavar="N",
        help="tokens trained at, where the publisher says less than the configuration "
        "(Qwen3: 32k of 40k)",
    )  # fmt: skip
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> str:
    """Raises PlanRefused with why positions cannot or need not be scaled."""
    config = read_model(arguments.model)
    model = parse(config, title(arguments.model))
    found = extend(model, arguments.context, arguments.method, original=arguments.original)
    told = commands(found, config)
    if arguments.format == "json":
        return json.dumps(as_data(found, told), indent=1) + "\n"
    return as_text(model.source, found, told)


def as_data(found: Extension, told: Told) -> dict[str, Any]:
    """The same as data."""
    return {
        "method": found.method,
        "stated_tokens": found.stated_tokens,
        "original_tokens": found.original_tokens,
        "context_tokens": found.context_tokens,
        "factor": found.factor,
        "attention_factor": found.after.attention_factor,
        "rotated_dimensions": found.layers.width,
        "wavelengths_before": list(found.before.wavelengths),
        "wavelengths_after": list(found.after.wavelengths),
        "rope_parameters": found.rope_parameters,
        "rope_scaling": found.rope_scaling,
        "max_position_embeddings": found.max_position_embeddings,
        "claims": list(claims(found)),
        "engines": {
            name: {"words": words, "remark": remark or None} for name, words, remark in told
        },
    }


def as_text(source: str, found: Extension, told: Told) -> str:
    """The same for a terminal."""
    said = [f"{source}: {headline(found)}"]
    said += [f"  {name:<24} {text}" for name, text in lines(found)]
    said += ["", "What engines are told:"]
    for name, words, remark in told:
        said += [f"  {name:<13} {text}" for text in (words, remark) if text]
    said += ["", "What is claimed, not computed:"]
    said += [f"  {text}" for text in claims(found)]
    return "\n".join(said) + "\n"
