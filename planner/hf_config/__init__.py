"""Hugging Face `config.json` -> Model, decided by its fields. Exact or refused.

    model = parse(json.loads(text), source="config.json")

`model_type` settles what the published code of a family does beyond its fields (biases, norms);
every other field is either read or known to be harmless, and a field that is neither is refused.

Here a file becomes fields and the answer is put together. What the fields of a family mean is in
the rooms, by what tokens leave behind: dense and experts (keys and values), latents, states.
layers is what all of them are made of, towers what stands beside a decoder. families finds the
builder of a model type.
"""

from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused
from planner.files.weight_files import without_files
from planner.hf_config.declared_cache import ASKS, declared_cache
from planner.hf_config.families import builder_of
from planner.hf_config.other_files import refuse_other_files
from planner.hf_config.reader import Fields, short
from planner.hf_config.refused_types import headless, refusal, refuse_other_heads
from planner.hf_config.rope import rope_of
from planner.hf_config.towers.towers import towers_of
from planner.hf_config.wrappers import TOWERS, parts, split
from planner.model import Model
from planner.run_dtype import SAVED_IN_FLOAT32, SERVED

MAX_DEPTH = 60
DTYPES = {"bfloat16", "float16", "float32"}
RENAMED = {
    "deepseek_sparse_attention": "indexed_attention",
    "qwen_sparse_attention": "indexed_attention",
}
"""Layer types as files before transformers 5.24 name them, which takes the new ones on loading.

Source: _LEGACY_LAYER_TYPE_REMAP in its configuration_utils.py; other pairs are read as they stand.
"""


def parse(config: Mapping[str, Any], source: str = "config.json") -> Model:
    """The Model that `config` describes.

    Raises ConfigRefused, whose message names the field that is missing, contradictory or not
    understood.
    """
    if not isinstance(config, Mapping):
        raise ConfigRefused("this holds no JSON object, so it is no model configuration")
    if depth_exceeds(config, MAX_DEPTH):
        raise ConfigRefused("this is nested too deeply to be a model configuration")
    config, files = without_files(config)
    refuse_other_files(config)
    refused = refusal(str(config.get("model_type")))
    if refused is not None:
        raise refused
    text, outer, filled, remarks = split(config)
    types = text.get("layer_types")
    if isinstance(types, list):
        text = {**text, "layer_types": [RENAMED.get(str(kind), kind) for kind in types]}
    fields = Fields(text)
    model_type = fields.text("model_type")
    build = builder_of(model_type)
    if build is None:
        raise refusal(model_type) or ConfigRefused(
            f"model_type: {short(model_type)} is not a family Sizewell knows; its layers cannot be "
            "told from the fields alone",
            field="model_type",
        )
    refuse_other_heads(outer.get("architectures"))
    quantization = outer.get("quantization_config") or text.get("quantization_config")
    quantization = quantization or text.get("quantization")
    if quantization is not None and not isinstance(quantization, Mapping):
        raise fields.refuse("quantization_config", f"{short(quantization)} is not an object")
    fields.ignore("quantization_config", *TOWERS)
    if quantization is not None and text.get("quantization") == quantization:
        fields.ignore("quantization")  # as MLX repeats it
    if isinstance(quantization, Mapping) and isinstance(text.get("expert_dtype"), str):
        fields.ignore("expert_dtype")
        quantization = {"expert_dtype": text["expert_dtype"], **quantization}
    dtype = stated_dtype(text, outer)
    saved = dtype or "bfloat16"
    declared = declared_cache(quantization)
    if text.get("use_sliding_window") is False and text.get("sliding_window") == 0:
        fields.settle("sliding_window", None)  # how transformers saves a window that is off
    model = build(fields)
    fields.finish()
    bare = None
    if "thinker_config" not in outer:  # beside a thinker, the class is that of all parts
        bare = headless(outer.get("architectures"), model_type, str(outer.get("model_type")))
    if bare is not None:
        model = model.model_copy(update={"head": ()})
    towers = towers_of(outer, model.hidden_size)
    elsewhere = [t for t in parts(text, outer) if t not in towers.described]
    return model.model_copy(
        update={
            "source": source,
            "dtype": SERVED.get(saved, saved),
            "saved_dtype": saved if saved in SERVED else None,
            "quantization": quantization,
            "files": files,
            "declared_cache": declared,
            "max_position_embeddings": longest_position(text),
            "rope": rope_of(text),
            "towers": towers.weights,
            "parameters_elsewhere": tuple(elsewhere),
            "notes": (
                *model.notes,
                *(() if dtype else ("torch_dtype is not given: bfloat16 is assumed.",)),
                *((SAVED_IN_FLOAT32,) if saved in SERVED else ()),
                *((ASKS.format(declared),) if declared else ()),
                *((f"{bare} has no language-model head, so none is counted.",) if bare else ()),
                *(f"{name} is the value of {model_type}'s class" for name in filled),
                *remarks,
            ),
        }
    )


def stated_dtype(text: Mapping[str, Any], outer: Mapping[str, Any]) -> str | None:
    """The number format that the configuration states for its weights, None where it is silent."""
    for config in (text, outer):
        for name in ("dtype", "torch_dtype"):
            value = config.get(name)
            if value is None:
                continue
            dtype = value.removeprefix("torch.") if isinstance(value, str) else value
            if not isinstance(dtype, str) or dtype not in DTYPES:
                raise ConfigRefused(
                    f"{name}: {short(value)} is not a number format of weights", field=name
                )
            return dtype
    return None


def longest_position(text: Mapping[str, Any]) -> int | None:
    """The context length the configuration states, under the names families use for it."""
    fields = Fields(text)
    names = ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length")
    for name in (*names, "max_seq_len", "model_max_length", "n_ctx"):
        found = fields.optional(name, least=1)
        if found:
            return found
    return None


def depth_exceeds(value: object, limit: int) -> bool:
    """Whether JSON `value` nests deeper than `limit`, without recursing into it."""
    level: list[Any] = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, Mapping) else item)
            if isinstance(child, (Mapping, list))
        ]
        if not level:
            return False
    return True
