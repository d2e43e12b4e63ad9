"""Multi-token-prediction layers: a decoder layer behind a projection of its own.

In most families it is the last layer again; elsewhere it is not sized.
"""

from typing import Any

from planner.hf_config.reader import Fields
from planner.model import LayerGroup
from planner.tensors import Weight

LIKE_LAST = (
    "bailing_moe", "bailing_hybrid", "deepseek_v3", "deepseek_v32", "deepseek_v4", "glm4_moe",
    "glm4_moe_lite", "glm_moe_dsa", "glm_ocr_text", "hy_v3", "mimo", "nemotron_h", "qwen3_next",
    "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text",
)  # fmt: skip
"""Families whose published code builds them so."""
NOT_SIZED = (
    "Multi-token-prediction layers are not counted: no field says how this family builds them."
)
LIKE_THE_LAST = "Multi-token-prediction layers are counted like the last layer of the decoder."
NUM_MTP = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers")


def prediction_layers(
    fields: Fields,
    groups: tuple[LayerGroup, ...],
    hidden_size: int,
    *,
    default: int = 0,
) -> dict[str, Any]:
    """`mtp`, `mtp_extras` and a note of the Model, empty where a configuration has no such layers.

    Each holds a decoder layer, eh_proj (which joins embedding and hidden state) and three norms.
    The layer is like the last one in families that build it so; the layers of others are not
    counted. Embedding and head are shared with the decoder.
    """
    count = fields.integer(*NUM_MTP, default=default, least=0)
    fields.expect("mtp_use_dedicated_embeddings", False)
    if not count:
        return {}
    if fields.text("model_type") not in LIKE_LAST:
        return {"notes": (NOT_SIZED,)}
    norms = tuple(
        Weight(name, (hidden_size,), "norm", copies=count) for name in ("enorm", "hnorm", "norm")
    )
    extras = (Weight("eh_proj", (hidden_size, 2 * hidden_size), copies=count), *norms)
    last = max(groups, key=lambda group: group.layers[-1])
    layers = last.model_copy(update={"layers": tuple(range(count))})
    return {"mtp": (layers,), "mtp_extras": extras, "notes": (LIKE_THE_LAST,)}
