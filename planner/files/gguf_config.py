"""Metadata of a GGUF file -> the fields of a config.json, where that can be said exactly.

    config = config_of([read_header(data)])    # the headers of all parts of one file

Sizes are held against the tensors when the model is planned (planner.formats.gguf_tensors), so that
no key can be misread in silence.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from planner.errors import ConfigRefused
from planner.files.gguf_architectures import ARCHITECTURES, FIELDS, THETAS, Architecture
from planner.files.gguf_header import GgufHeader
from planner.files.gguf_keys import Keys
from planner.files.parts import of_headers
from planner.files.tensor import StoredTensor
from planner.files.weight_files import with_files
from planner.formats.gguf_assignment import METHOD


def gguf_with_files(
    name: str, headers: Sequence[GgufHeader], cut: Sequence[str] = ()
) -> dict[str, Any]:
    """The configuration of a GGUF file's parts with what is in them, as `with_files` writes it."""
    config = config_of(headers)
    return with_files(config, of_headers(name, headers, config["num_hidden_layers"], cut))


def config_of(headers: Sequence[GgufHeader]) -> dict[str, Any]:
    """The configuration of the model whose parts these are, the first of them first.

    Raises ConfigRefused, naming the key that is missing, contradictory or not understood.
    """
    metadata = headers[0].metadata
    tensors = _tensors(headers)
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
    config: dict[str, Any] = {"model_type": found.model_type}
    for key in ("block_count", "embedding_length", "attention.head_count"):
        config[FIELDS[key]] = keys.needed(key)
    if config["num_hidden_layers"] > len(tensors):
        raise keys.refuse("block_count", "is more than the file has tensors")
    for key, field in {**FIELDS, **(found.fields or {})}.items():
        value = keys.number(key) if key in THETAS else keys.whole(key)
        if value is not None:
            config[field] = value
    config["vocab_size"] = table[0]
    config["tie_word_embeddings"] = "output.weight" not in shapes
    if keys.get("attention.causal") is False:
        raise keys.refuse("attention.causal", "is false: an encoder has no KV cache to plan")
    keys.get("vocab_size")
    if found.model_type == "deepseek_v2":
        _latents(keys, config, shapes)
    else:
        _heads(keys, config)
        _biases(config, found, shapes)
    if found.model_type == "llama" and config.get("num_local_experts"):
        config |= {"model_type": "mixtral", "sliding_window": None}
        config.pop("attention_bias"), config.pop("mlp_bias")
    _windows(keys, config, found)
    _positions(keys, config, shapes)
    return config


def _heads(keys: Keys, config: dict[str, Any]) -> None:
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    config.setdefault("head_dim", config["hidden_size"] // config["num_attention_heads"])
    if not config["head_dim"]:
        raise keys.refuse("attention.key_length", "is 0")
    value = keys.whole("attention.value_length")
    if value not in (None, config["head_dim"]):
        raise keys.refuse("attention.value_length", "is not the length of keys")
    rotated = keys.whole("rope.dimension_count")
    if rotated not in (None, config["head_dim"]):
        config["partial_rotary_factor"] = rotated / config["head_dim"]


def _biases(config: dict[str, Any], found: Architecture, shapes: Mapping[str, Any]) -> None:
    """Biases that a model type may have or lack, by whether the file has them."""
    if found.model_type in ("llama", "smollm3", "qwen3", "qwen3_moe", "gpt_oss"):
        config["attention_bias"] = "blk.0.attn_q.bias" in shapes
    if found.model_type in ("llama", "smollm3"):
        config["mlp_bias"] = "blk.0.ffn_up.bias" in shapes


def _latents(keys: Keys, config: dict[str, Any], shapes: Mapping[str, Any]) -> None:
    """Sizes of latent attention; key_length and value_length are those of the cached latent."""
    rope, whole = keys.needed("rope.dimension_count"), config.pop("qk_head_dim", None)
    config.pop("head_dim", None)
    keys.get("attention.value_length")
    if whole is None or config.get("v_head_dim") is None:
        raise keys.refuse(
            "attention.key_length_mla",
            "is missing: the file is from before llama.cpp cached latents (April 2025); convert "
            "the model again, or give its config.json",
        )
    config |= {"qk_rope_head_dim": rope, "qk_nope_head_dim": whole - rope}
    config.setdefault("q_lora_rank", None)
    config["num_key_value_heads"] = config["num_attention_heads"]
    if not config.get("n_routed_experts"):
        raise keys.refuse("expert_count", "is missing, and without experts it is another model")
    if any(name.endswith("exp_probs_b.bias") for name in shapes):
        config["model_type"] = "deepseek_v3"


def _windows(keys: Keys, config: dict[str, Any], found: Architecture) -> None:
    """Which layers slide: all but the last of each period, or as a list for every layer says."""
    window = keys.whole("attention.sliding_window")
    pattern = keys.raw("attention.sliding_window_pattern")
    if not found.period:
        if window and found.model_type == "phi3":
            config["sliding_window"] = window
        elif window:
            raise keys.refuse("attention.sliding_window", "is not understood here")
        return
    if found.model_type == "gpt_oss":
        keys.needed("attention.sliding_window")  # which llama.cpp does not load it without
    window = found.window if window is None else window
    config["sliding_window"] = window or None
    if not window:
        return
    count = config["num_hidden_layers"]
    if isinstance(pattern, list):
        if len(pattern) != count:
            raise keys.refuse(
                "attention.sliding_window_pattern", f"does not describe {count} layers"
            )
        if any(slide not in (0, 1) for slide in pattern):
            raise keys.refuse("attention.sliding_window_pattern", "is no list of yes and no")
        slides = [bool(slide) for slide in pattern]
    else:
        period = keys.whole("attention.sliding_window_pattern")
        period = found.period if period is None else period
        slides = [not period or index % period < period - 1 for index in range(count)]
    if found.model_type == "olmo2":
        config["model_type"] = "olmo3"  # llama.cpp has one architecture for both
    kinds = ("full_attention", "sliding_attention")
    config["layer_types"] = [kinds[slide] for slide in slides]


def _positions(keys: Keys, config: dict[str, Any], shapes: Mapping[str, Any]) -> None:
    """What scales rotary positions. Factors of single frequencies are in tensors, not metadata."""
    kind, factor = keys.get("rope.scaling.type"), keys.number("rope.scaling.factor")
    original = keys.whole("rope.scaling.original_context_length")
    if kind in ("linear", "yarn"):
        if factor is None or not 0 < factor < inf:
            raise keys.refuse("rope.scaling.factor", f"is {factor}, and {kind} needs one above 0")
        scaling = {"rope_type": kind, "factor": factor}
    elif "rope_factors_long.weight" in shapes:
        scaling = {"rope_type": "longrope"}
    elif "rope_freqs.weight" in shapes:
        scaling = {"rope_type": "llama3"}
    elif kind in (None, "none"):
        if original and config["model_type"] == "phi3":
            config["original_max_position_embeddings"] = original
        return
    else:
        raise keys.refuse("rope.scaling.type", f"{str(kind)[:40]!r} is not understood")
    if original:
        scaling["original_max_position_embeddings"] = original
    config["rope_scaling"] = scaling
