"""Checkpoints with the names and shapes of transformers, beside plans of the same models."""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest

from planner.files.comparison import compare
from planner.files.parts import depth_of, of_headers
from planner.files.safetensors_header import read_header
from planner.files.weight_files import with_files
from planner.formats.quantization import assign
from planner.hf_config import parse
from presets.models import load_model_config
from tests.planner.files.converted import numbers
from tests.planner.files.written import Shapes, safetensors

CHECKPOINTS = json.loads(
    Path(__file__).parents[1].joinpath("data", "checkpoints.json").read_text(encoding="utf-8")
)
SAVED_OTHERWISE = {
    "deepseek-v2-lite": "stored in BF16 and F32 and planned in bf16",
    "deepseek-v3": "stored in BF16 and F32 and planned in bf16",
    "glm-4.5-air": "stored in BF16 and F32 and planned in bf16",
    "nvidia-nemotron-3-nano-30b-a3b-bf16": "stored in BF16 and F32 and planned in bf16",
}
"""Routers, which transformers keeps in fp32."""


def tensors_of(patterns: list[list[str]]) -> Shapes:
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, kind, layers, experts in patterns:
        dtype, _, sizes = kind.partition(" ")
        shape = tuple(int(n) for n in sizes.split("x"))
        for layer in numbers(layers):
            for expert in numbers(experts):
                own = name.replace("*", str(layer), 1).replace("*", str(expert), 1)
                found[own] = (dtype, shape)
    return found


@pytest.mark.parametrize("case", CHECKPOINTS, ids=lambda case: str(case["name"]))
def test_a_plan_counts_what_a_checkpoint_holds(case: dict[str, Any]) -> None:
    """Two files without an index; what differs is explained and nothing is left."""
    config = load_model_config(case["name"])
    config.pop("quantization_config", None)
    tensors = tensors_of(case["tensors"])
    names = list(tensors)
    halves = [{name: tensors[name] for name in names[start::2]} for start in (0, 1)]
    headers = [read_header(safetensors(half)) for half in halves]
    model = parse(with_files(config, of_headers("2 files", headers, depth_of(config))))
    found = compare(model, "auto", assign(model, "auto"))
    assert found is not None
    assert found.files.bytes == sum(
        prod(shape) * {"BF16": 2, "F32": 4}[dtype] for dtype, shape in tensors.values()
    )
    assert found.unexplained == ()
    assert found.difference == sum(line.bytes for line in found.lines)
    layers = [line.why for line in found.lines if line.label == "the layers"]
    expected = SAVED_OTHERWISE.get(case["name"])
    assert layers == ([] if expected is None else [expected])
