"""Tables of cosines and sines, which PyTorch engines keep beside the weights.

One table per kind of rotary embedding and rank, positions x rotary width in the model's dtype,
whatever max_model_len is. Sources: vLLM 0.19.1 (layers/rotary_embedding); records: Llama-3.1-8B
+32 MiB, Llama-4-Scout +2.5 GiB (10,485,760 positions), Gemma-3-12B +0.56 GiB (linear factor 8).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from planner.formats.dtypes import DTYPE_BYTES
from planner.kinds.attention import Attention, LatentAttention
from planner.model import LayerGroup, Model

MULTIMODAL_FACTOR = 4
"""Multimodal rotary embeddings (Qwen-VL) reserve four times the positions."""


def rotary_bytes(
    model: Model, groups: Iterable[LayerGroup], config: Mapping[str, Any] | None = None
) -> int:
    """Bytes of all tables of a rank with these layers.

    config: the model's own, for `rope_scaling` and the partial rotary factor; without it the
    positions are max_position_embeddings and heads rotate whole.
    """
    text = text_config(config)
    kinds = set()
    for group in groups:
        for mixer in group.mixers:
            if isinstance(mixer, LatentAttention):
                kinds.add((mixer.qk_rope_head_dim, False))
            elif isinstance(mixer, Attention):
                local = mixer.window is not None and model.model_type.startswith("gemma3")
                kinds.add((int(mixer.head_dim * _partial(text)), local))
    whole, plain = _positions(model, text), model.max_position_embeddings or 0
    elements = sum((plain if local else whole) * width for width, local in kinds)
    return elements * DTYPE_BYTES[model.dtype]


def text_config(config: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The text model's own part of a configuration."""
    inner = (config or {}).get("text_config")
    return inner if isinstance(inner, Mapping) else (config or {})


def scaling_of(text: Mapping[str, Any]) -> Mapping[str, Any]:
    """How a text configuration scales its positions, in either spelling."""
    for name in ("rope_scaling", "rope_parameters"):
        found = text.get(name)
        if isinstance(found, Mapping):
            inner = found.get("full_attention")
            return inner if isinstance(inner, Mapping) else found
    return {}


def _partial(text: Mapping[str, Any]) -> float:
    found = text.get("partial_rotary_factor", scaling_of(text).get("partial_rotary_factor"))
    return float(found) if isinstance(found, int | float) and 0 < found <= 1 else 1.0


def _positions(model: Model, text: Mapping[str, Any]) -> int:
    """Rows of the table: scaled embeddings reach further than their original length."""
    plain = model.max_position_embeddings or 0
    scaling = scaling_of(text)
    if "mrope_section" in scaling:
        return MULTIMODAL_FACTOR * plain
    kind = scaling.get("rope_type", scaling.get("type"))
    factor = scaling.get("factor")
    if not isinstance(factor, int | float):
        return plain
    if kind in ("linear", "dynamic"):
        return int(plain * factor)
    original = scaling.get("original_max_position_embeddings")
    if kind in ("yarn", "deepseek_yarn") and isinstance(original, int):
        return int(original * factor)
    return plain
