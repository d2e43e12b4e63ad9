"""Vision towers, which an engine loads and profiles beside the text model.

    tower_of(config, model)  # Tower(parameters=..., ...), or None for a text model

Where the model's fields do not settle its tower, this counts the transformer of `vision_config`,
its patch embedding and the projector into the text model: within 2 % of the published weights of
SigLIP, CLIP, Pixtral, MoonViT and Qwen's ViT.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planner.model import Model
from planner.parameters import count

GATED = ("pixtral", "qwen2_5_vl", "qwen2_5_omni")
WITH_TOWER = ", and the weights of towers for images and sound"
WIDENING = "vision.mlp.up"
"""The tensor of an exact tower that shows its widths, once per layer."""
MERGED = 4
"""Patches that projectors of Pixtral, Qwen and Kimi join into one token."""


@dataclass(frozen=True, slots=True)
class Tower:
    """parameters of encoder and projector; widths of the encoder in elements. dynamic: images keep
    their resolution, so that one may have many thousand patches."""

    parameters: int
    hidden_size: int
    intermediate_size: int
    layers: int
    kind: str = ""

    @property
    def dynamic(self) -> bool:
        return self.kind.startswith("qwen")


def tower_of(config: Mapping[str, Any], model: Model | None = None) -> Tower | None:
    """The tower that a configuration's `vision_config` describes; model: with its tensors, if it
    has them, and with those of an audio tower beside it."""
    vision = config.get("vision_config")
    counted = 0 if model is None else count(model).towers
    if model is not None and counted and "vision_config" not in model.parameters_elsewhere:
        return _exact(model, vision if isinstance(vision, Mapping) else {}, config)
    if not isinstance(vision, Mapping):
        return None
    kind = _kind(vision, config)
    # Beside an embed_dim, hidden_size is the text model's (Qwen2-VL).
    hidden = _first(vision, "embed_dim", "hidden_size", "vt_hidden_size", "width")
    layers = _first(vision, "num_hidden_layers", "depth", "vt_num_hidden_layers", "layers")
    if not hidden or not layers:
        return None
    inner = _first(vision, "intermediate_size", "vt_intermediate_size")
    if not inner:
        inner = int(hidden * float(vision.get("mlp_ratio") or 4))
    patch = _first(vision, "patch_size", "spatial_patch_size") or 14
    frames = _first(vision, "temporal_patch_size") or 1
    side = (_first(vision, "image_size") or 0) // patch
    text = config.get("text_config")
    text_hidden = _first(text if isinstance(text, Mapping) else config, "hidden_size") or hidden
    layer = 4 * hidden * hidden + (3 if kind.startswith(GATED) else 2) * hidden * inner
    layer += 11 * hidden + inner
    found = layers * layer + 3 * patch * patch * frames * hidden
    if kind != "pixtral":
        found += side * side * hidden
    found += _projector(config, kind, hidden, text_hidden)
    return Tower(found + counted, hidden, inner, layers, kind)


def _exact(model: Model, vision: Mapping[str, Any], config: Mapping[str, Any]) -> Tower:
    """The tower whose tensors the model has; without layers, it is a projection of patches."""
    layers = [weight for weight in model.towers if weight.name == WIDENING]
    inner, hidden = layers[0].shape if layers else (0, 0)
    copies = layers[0].copies if layers else 0
    return Tower(count(model).towers, hidden, inner, copies, _kind(vision, config))


def _kind(vision: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    return str(vision.get("model_type") or config.get("model_type") or "")


def _projector(config: Mapping[str, Any], kind: str, hidden: int, text_hidden: int) -> int:
    """Matrices between tower and text model."""
    if config.get("model_type") == "gemma3":
        return hidden * text_hidden
    if kind == "pixtral":
        return MERGED * hidden * hidden + (hidden + text_hidden) * text_hidden
    if kind.startswith("qwen") or kind == "moonvit":
        return (MERGED * hidden) ** 2 + MERGED * hidden * text_hidden
    return (hidden + text_hidden) * text_hidden


def _first(fields: Mapping[str, Any], *names: str) -> int:
    """The first of these fields that holds a number, or 0."""
    return next((int(v) for name in names if isinstance(v := fields.get(name), int)), 0)
