"""Python that loads the model and generates with the planned cache."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from planner.deployment import Deployment
from planner.engines.checkpoint import Checkpoint, gguf_file
from planner.engines.extended import overrides
from planner.engines.transformers.options import TransformersOptions
from planner.formats.gguf_assignment import held_in_gguf
from planner.model import Model
from planner.rope.extension import Extension

QUANTISED_ON_LOAD = {
    "nf4": 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")',
    "int8_bnb": "BitsAndBytesConfig(load_in_8bit=True)",
    "fp8": "FineGrainedFP8Config()",
}
"""Formats that transformers makes of a 16-bit checkpoint."""


def load_command(
    checkpoint: Checkpoint,
    model: Model,
    deployment: Deployment,
    options: TransformersOptions,
    scaling: Sequence[str] = (),
) -> str:
    """Python that loads the model and generates with this cache. A GGUF file names no dtype.
    scaling: the arguments that stretch positions."""
    load = [f'"{checkpoint.name}"', f'dtype="{checkpoint.dtype or "auto"}"']
    if held_in_gguf(model, deployment.weights_dtype):
        file = gguf_file(model.source, model, deployment.weights_dtype).rsplit("/", 1)[-1]
        folder = load[0]
        if checkpoint.name.endswith(".gguf"):
            folder = f'"{checkpoint.name.rpartition("/")[0] or "."}"'
        load = [folder, f'gguf_file="{file}"', f'dtype="{model.dtype}"']
    if checkpoint.on_load is not None:
        load.append(f"quantization_config={checkpoint.on_load}")
    load.append(f'attn_implementation="{options.attn_implementation}"')
    load.append('tp_plan="auto"' if deployment.tensor_parallel_size > 1 else 'device_map="cuda"')
    load += scaling
    arguments = ["**inputs"]
    if options.cache_implementation != "dynamic":
        arguments.append(f'cache_implementation="{options.cache_implementation}"')
    if options.cache_implementation == "quantized":
        settings = {"backend": "quanto" if options.nbits in (2, 4) else "hqq"}
        arguments.append(f"cache_config={json.dumps({**settings, 'nbits': options.nbits})}")
    if options.prefill_chunk_size:
        arguments.append(f"prefill_chunk_size={options.prefill_chunk_size}")
    return (
        f"model = AutoModelForCausalLM.from_pretrained({', '.join(load)}); "
        f"model.generate({', '.join(arguments)})"
    )


def scaling_arguments(found: Extension, config: Mapping[str, Any] | None) -> list[str]:
    """Arguments of from_pretrained()."""
    return [f"{name}={value!r}" for name, value in overrides(found, config).items()]
