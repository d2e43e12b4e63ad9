"""The register of model types: which function reads which `model_type`."""

from collections.abc import Callable
from importlib import import_module

from planner.hf_config.reader import Fields
from planner.model import Model

Build = Callable[[Fields], Model]

BUILDERS: dict[str, Build] = {}
MODULES = (
    "dense",
    "moe",
    "mla",
    "delta",
    "legacy",
    "gemma",
    "compressed",
    "compressed_convolutions",
    "convolutional",
    "early_moe",
    "falcon",
    "hybrid",
    "kda",
    "lightning",
    "llama4",
    "mamba",
    "mamba2_hybrids",
    "megatron",
    "minimax",
    "mixed_heads",
    "mixed_latents",
    "modalities",
    "modernbert",
    "per_layer",
    "ngrams",
    "pooled_indexers",
    "recurrent",
    "remote_traits",
    "residual_convolutions",
    "shared_latents",
    "shortcut",
    "windowed_delta",
    "zamba",
)
"""Modules of this package that register builders, the most asked for first."""


def family(*model_types: str) -> Callable[[Build], Build]:
    """Register a builder for these model types."""

    def register(build: Build) -> Build:
        for name in model_types:
            if name in BUILDERS:
                raise RuntimeError(f"two builders for model type {name}")
            BUILDERS[name] = build
        return build

    return register


def builder_of(model_type: str) -> Build | None:
    """The builder of a model type, None for unknown ones. Imports modules until it is found."""
    for module in MODULES:
        if model_type in BUILDERS:
            break
        import_module(f"planner.hf_config.{module}")
    return BUILDERS.get(model_type)
