"""Metadata of a GGUF file -> the fields of a config.json, where that can be said exactly.

    config = config_of([read_header(data)])    # the headers of all parts of one file

Sizes are held against the tensors (planner.formats.gguf_tensors), of all and one by one, so that
no key can be misread in silence.
"""

from collections.abc import Sequence
from typing import Any

from planner.errors import ConfigRefused
from planner.files.gguf_architecture import FIELDS, FLAGS, THETAS, Architecture
from planner.files.gguf_attention import heads, latents, positions
from planner.files.gguf_dense_rows import DENSE
from planner.files.gguf_expert_rows import EXPERTS
from planner.files.gguf_families import SETTLED
from planner.files.gguf_header import GgufHeader
from planner.files.gguf_keys import Keys
from planner.files.gguf_layers import kinds_of, layers_with, windows
from planner.files.gguf_state_rows import STATES
from planner.files.parts import of_headers
from planner.files.tensor import StoredTensor
from planner.files.weight_files import with_files
from planner.formats.gguf_assignment import METHOD
from planner.formats.quantization import assign
from planner.hf_config import parse

MODEL = "model"
"""general.type of what is neither an adapter nor a model's towers in a file of their own."""
ARCHITECTURES: dict[str, Architecture] = {**DENSE, **EXPERTS, **STATES}


def gguf_with_files(
    name: str, headers: Sequence[GgufHeader], cut: Sequence[str] = ()
) -> dict[str, Any]:
    """The configuration of a GGUF file's parts with what is in them, as `with_files` writes it.

    Raises ConfigRefused, naming the tensor, where one is not the model's or not of its size.
    """
    config = config_of(headers)
    assign(parse(config), "auto")
    return with_files(config, of_headers(name, headers, config["num_hidden_layers"], cut))


def config_of(headers: Sequence[GgufHeader]) -> dict[str, Any]:
    """The configuration of the model whose parts these are, the first of them first.

    Raises ConfigRefused, naming the key that is missing, contradictory or not understood.
    """
    metadata = headers[0].metadata
    tensors = _tensors(headers)
    kind = metadata.get("general.type", MODEL)
    if kind != MODEL:
        raise ConfigRefused(
            f"general.type: this is {str(kind)[:40]!r} and no model: give the file of its model",
            field="general.type",
        )
    name = metadata.get("general.architecture")
    if name is None:
        raise ConfigRefused(
            "general.architecture is missing, so this is no model: open the first part of the file",
            field="general.architecture",
        )
    found = ARCHITECTURES.get(name) if isinstance(name, str) else None
    if found is None:
        raise ConfigRefused(
            f"general.architecture: {str(name)[:40]!r} is none that Sizewell reads from a GGUF "
            "file: give the config.json of its model",
            field="general.architecture",
        )
    keys = Keys(metadata, str(name))
    config = _fields(keys, found, tensors)
    keys.finish()
    return {
        **config,
        "quantization_config": {
            "quant_method": METHOD,
            "tensors": {t.name: f"{t.dtype} {'x'.join(map(str, t.shape))}" for t in tensors},
        },
    }


def _tensors(headers: Sequence[GgufHeader]) -> list[StoredTensor]:
    """The tensors of all parts. Raises ConfigRefused where a part is missing or none of them."""
    first = headers[0].metadata
    count = first.get("split.count") or 1
    numbers = [header.metadata.get("split.no", 0) for header in headers]
    if count != len(headers) or numbers != list(range(len(headers))):
        raise ConfigRefused(
            f"split.count: the file has {str(count)[:20]} parts, and {len(headers)} of them are "
            "here: keep all in one folder, under the names that they were split to",
            field="split.count",
        )
    tensors = [tensor for header in headers for tensor in header.tensors]
    expected = first.get("split.tensors.count", len(tensors))
    if expected != len(tensors) or len({t.name for t in tensors}) < len(tensors):
        raise ConfigRefused("split.tensors.count: the parts do not belong together")
    return tensors


def _fields(keys: Keys, found: Architecture, tensors: list[StoredTensor]) -> dict[str, Any]:
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    table = shapes.get("token_embd.weight", ())
    if len(table) != 2:
        raise ConfigRefused("token_embd.weight is not among the tensors, or is no matrix")
    config: dict[str, Any] = {"model_type": found.model_type, **found.values}
    for key in ("block_count", "embedding_length"):
        keys.needed(key)
    if keys.needed("block_count") > len(tensors):
        raise keys.refuse("block_count", "is more than the file has tensors")
    named = {**FIELDS, **found.fields}
    for key, field in named.items():
        if field is None:
            keys.raw(key)
        elif (value := keys.quotient(key) if "/" in key else _value(keys, key)) is not None:
            config[field] = value
    count = config["num_hidden_layers"] - config.get("num_nextn_predict_layers", 0)
    config["num_hidden_layers"] = count
    if not any(name.startswith(f"blk.{count}.") for name in shapes):
        config.pop("num_nextn_predict_layers", None)  # which the file leaves out
    if count < 1:
        raise keys.refuse("nextn_predict_layers", "leaves no layer of the model itself")
    config["vocab_size"] = table[0]
    config["tie_word_embeddings"] = "output.weight" not in shapes
    if keys.get("attention.causal") is False:
        raise keys.refuse("attention.causal", "is false: an encoder has no KV cache to plan")
    keys.get("vocab_size")
    if any(".attn_" in name for name in shapes if "norm" not in name):
        keys.needed("attention.head_count")
    for flag in found.flags:
        config[flag] = any(layers_with(shapes, name) for name in FLAGS[flag])
    if found.kinds:
        config[found.kinds_field] = kinds_of(keys, found, shapes, count)
    if found.kinds_field not in config:
        windows(keys, config, found)
    settle = SETTLED.get(found.model_type)
    if settle is not None:
        settle(keys, config, shapes)
    if config.get("kv_lora_rank"):
        latents(keys, config, shapes)
    else:
        heads(keys, config)
    positions(keys, config, shapes)
    return config


def _value(keys: Keys, key: str) -> Any:
    """The value of a key that is a field; a flag, or a number, whole but for a theta."""
    value = keys.raw(key)
    if isinstance(value, bool):
        return value
    return keys.number(key) if key in THETAS else keys.whole(key)
