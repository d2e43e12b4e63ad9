"""The register of model types: which function reads which `model_type`."""

from collections.abc import Callable

from planner.hf_config.reader import Fields
from planner.model import Model

Build = Callable[[Fields], Model]

BUILDERS: dict[str, Build] = {}


def family(*model_types: str) -> Callable[[Build], Build]:
    """Register a builder for these model types."""

    def register(build: Build) -> Build:
        for name in model_types:
            if name in BUILDERS:
                raise RuntimeError(f"two builders for model type {name}")
            BUILDERS[name] = build
        return build

    return register
