"""The register of model types: which function reads which `model_type`."""

from collections.abc import Callable
from importlib import import_module

from planner.hf_config.reader import Fields
from planner.model import Model

Build = Callable[[Fields], Model]

BUILDERS: dict[str, Build] = {}
MODULES = (
    "dense.decoder",
    "experts.decoder",
    "latents.mla",
    "states.delta",
    "dense.legacy",
    "dense.gemma",
    "dense.falcon",
    "dense.megatron",
    "dense.modernbert",
    "dense.per_layer",
    "dense.remote",
    "experts.early_moe",
    "experts.llama4",
    "experts.minimax",
    "experts.mixed_heads",
    "experts.modalities",
    "latents.compressed",
    "latents.mixed_latents",
    "latents.shared_latents",
    "latents.shortcut",
    "states.compressed_convolutions",
    "states.convolutional",
    "states.hybrid",
    "states.kda",
    "states.lightning",
    "states.mamba",
    "states.mamba2_hybrids",
    "states.ngrams",
    "states.pooled_indexers",
    "states.recurrent",
    "states.residual_convolutions",
    "states.windowed_delta",
    "states.zamba",
)
"""Modules of the rooms that register builders, the most asked for first."""


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
