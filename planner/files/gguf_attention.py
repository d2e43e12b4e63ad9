"""Heads, latents and positions of a GGUF file's attention -> fields of a configuration."""

from collections.abc import Mapping
from math import inf
from typing import Any

from planner.files.gguf_keys import Keys


def heads(keys: Keys, config: dict[str, Any]) -> None:
    """Head sizes, where the model has attention at all."""
    if not config.get("num_attention_heads"):
        for name in ("num_attention_heads", "num_key_value_heads"):
            config.pop(name, None)
        return
    if config.get("num_key_value_heads", 0) == 0:
        config["num_key_value_heads"] = config["num_attention_heads"]
    length = config.get("global_head_dim") or config.get("head_dim")
    if length is None:
        length = config["hidden_size"] // config["num_attention_heads"]
        if "num_kv_heads" not in config:
            config["head_dim"] = length
    if not length:
        raise keys.refuse("attention.key_length", "is 0")
    value = keys.whole("attention.value_length")
    if value not in (None, length):
        raise keys.refuse("attention.value_length", "is not the length of keys")
    rotated = keys.whole("rope.dimension_count")
    if rotated not in (None, length):
        config["partial_rotary_factor"] = rotated / length


def latents(keys: Keys, config: dict[str, Any], shapes: Mapping[str, Any]) -> None:
    """Sizes of latent attention; key_length and value_length are those of the cached latent, or of
    a head where the model type never caches latents (MiniCPM3)."""
    rope, whole = keys.needed("rope.dimension_count"), config.pop("qk_head_dim", None)
    length = config.pop("head_dim", None)
    values = keys.whole("attention.value_length")
    if whole is None and config["model_type"] == "minicpm3":
        whole = length
        if values is not None:
            config["v_head_dim"] = values
    elif whole is None or config.get("v_head_dim") is None:
        raise keys.refuse(
            "attention.key_length_mla",
            "is missing: the file is from before llama.cpp cached latents (April 2025); convert "
            "the model again, or give its config.json",
        )
    if whole is None or whole <= rope:
        raise keys.refuse("rope.dimension_count", f"is {rope}, which leaves nothing of a key")
    config |= {"qk_rope_head_dim": rope, "qk_nope_head_dim": whole - rope}
    config.setdefault("q_lora_rank", None)
    config["num_key_value_heads"] = config["num_attention_heads"]


def positions(keys: Keys, config: dict[str, Any], shapes: Mapping[str, Any]) -> None:
    """What scales rotary positions. Factors of single frequencies are in tensors, not metadata."""
    kind, factor = keys.get("rope.scaling.type"), keys.number("rope.scaling.factor")
    original = keys.whole("rope.scaling.original_context_length")
    if kind in ("linear", "yarn"):
        if factor is None or not 0 < factor < inf:
            raise keys.refuse("rope.scaling.factor", f"is {factor}, and {kind} needs one above 0")
        scaling = {"rope_type": kind, "factor": factor}
    elif "rope_factors_long.weight" in shapes:
        scaling = {"rope_type": "longrope"}
    elif "rope_freqs.weight" in shapes and config["model_type"] == "gemma4_text":
        scaling = {"rope_type": "proportional"}
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
