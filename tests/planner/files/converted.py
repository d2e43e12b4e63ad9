"""Headers that llama.cpp's converter wrote, which make_gguf_headers.py put together."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from planner.files.gguf_header import GgufHeader, read_header
from presets.models import load_model_config
from tests.planner.files.written import gguf

PATH = Path(__file__).parents[1] / "data" / "gguf_headers.json"


@dataclass(frozen=True)
class Converted:
    """A model's configuration and the header of its Q8_0 file."""

    name: str
    config: dict[str, Any]
    header: GgufHeader


@cache
def cases() -> dict[str, dict[str, Any]]:
    """All models of the file by name."""
    return {case["name"]: case for case in json.loads(PATH.read_text(encoding="utf-8"))}


@cache
def converted(name: str) -> Converted:
    """One model of the file, its header written and read again."""
    case = cases()[name]
    config = case["config"]
    if isinstance(config, str):
        config = load_model_config(config)
    tensors = {
        stem.replace("*", str(index)): (kind, tuple(int(n) for n in shape.split("x")))
        for stem, kinds in case["tensors"].items()
        for kind, shape, layers in ((*held.split(), at) for held, at in kinds.items())
        for index in numbers(layers)
    }
    return Converted(name, config, read_header(gguf(case["metadata"], tensors)))


def numbers(spans: str) -> list[int]:
    """The numbers of "0-3,7"; a zero where there are none, for a name without one."""
    ends = [(int(a), int(b or a)) for a, b in re.findall(r"(\d+)(?:-(\d+))?", spans)]
    return [index for first, last in ends for index in range(first, last + 1)] or [0]
