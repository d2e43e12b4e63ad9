"""Multi-token-prediction layers: the last decoder layer again, behind a projection of its own."""

from typing import Any

from planner.hf_config.reader import Fields
from planner.model import LayerGroup
from planner.tensors import Weight

LIKE_THE_LAST = "Multi-token-prediction layers are counted like the last layer of the decoder."
NUM_MTP = ("num_nextn_predict_layers", "num_mtp_layers", "mtp_num_hidden_layers")


def prediction_layers(
    fields: Fields, groups: tuple[LayerGroup, ...], hidden_size: int, *, default: int = 0
) -> dict[str, Any]:
    """`mtp`, `mtp_extras` and a note of the Model, empty where a configuration has no such layers.

    Each holds a decoder layer like the last one, eh_proj (which joins embedding and hidden state)
    and three norms. Embedding and head are shared with the decoder.
    """
    count = fields.integer(*NUM_MTP, default=default, least=0)
    fields.expect("mtp_use_dedicated_embeddings", False)
    if not count:
        return {}
    last = max(groups, key=lambda group: group.layers[-1])
    norms = tuple(
        Weight(name, (hidden_size,), "norm", copies=count) for name in ("enorm", "hnorm", "norm")
    )
    projection = Weight("eh_proj", (hidden_size, 2 * hidden_size), copies=count)
    layers = last.model_copy(update={"layers": tuple(range(count))})
    return {"mtp": (layers,), "mtp_extras": (projection, *norms), "notes": (LIKE_THE_LAST,)}
