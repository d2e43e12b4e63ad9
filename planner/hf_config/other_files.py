"""Files that lie beside a config.json and are given in its place: each told by its own fields."""

from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused

OF_MODELS = {"model_type", "architectures", "hidden_size", "num_hidden_layers"}
BESIDE = {
    "weight_map": "the index of a checkpoint's weights",
    "added_tokens_decoder": "a tokenizer's configuration",
    "tokenizer_class": "a tokenizer's configuration",
    "chat_template": "a tokenizer's configuration",
    "do_sample": "a generation_config.json",
    "temperature": "a generation_config.json",
    "_from_model_config": "a generation_config.json",
    "image_processor_type": "an image processor's configuration",
    "feature_extractor_type": "a feature extractor's configuration",
}
"""Fields that only such a file has."""


def refuse_other_files(config: Mapping[str, Any]) -> None:
    """Raise ConfigRefused for a file that has none of a model's own fields and some of another."""
    if not OF_MODELS.isdisjoint(config):
        return
    if "peft_type" in config:
        base = config.get("base_model_name_or_path")
        whose = f" of {base[:80]}" if isinstance(base, str) and base else ""
        rank = config.get("r")
        sized = f" and max_lora_rank {rank}" if isinstance(rank, int) else ""
        raise ConfigRefused(
            f"this is an adapter's configuration: give the config.json{whose or ' of its base'}, "
            f"and reserve adapters with the engine's max_loras{sized}"
        )
    for field, what in BESIDE.items():
        if field in config:
            raise ConfigRefused(f"this is {what}: give the config.json beside it")
    if {"dim", "n_layers", "n_heads"} <= set(config):
        raise ConfigRefused(
            "this is a params.json, whose fields have names of their own: give the config.json of "
            "the same model"
        )
