"""Decoders with tensors for what is not text: ERNIE 4.5 VL's experts, Molmo 2's tokens.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from dataclasses import replace
from typing import Any

from planner.hf_config.dense.bases import ATTENTION_BIAS
from planner.hf_config.dense.decoder import decoder
from planner.hf_config.experts.decoder import sparse_decoder
from planner.hf_config.experts.rows import TRAITS
from planner.hf_config.families import family
from planner.hf_config.reader import Fields, short
from planner.kinds.mlp import MoE, projections
from planner.model import LayerGroup, Model
from planner.tensors import Weight, linear

TEXT = replace(
    TRAITS["ernie4_5_moe"],
    head_bias=False,
    ignored=(
        *TRAITS["ernie4_5_moe"].ignored, "freq_allocation", "modality_detach", "rope_3d",
        "moe_multimodal_dispatch_use_allgather",
    ),
)  # fmt: skip
PAIRS = {"moe_num_experts": [64, 64], "moe_intermediate_size": [1536, 512]}
"""Of text and of images. The first may be one number, for both."""
PLACES = ("moe_layer_start_index", "moe_layer_end_index")
OF_THE_TOWER = (
    "fuse_rope", "im_patch_id", "moe_dropout_prob", "pixel_hidden_size", "spatial_conv_size",
    "temporal_conv_size",
    )  # fmt: skip
"""Fields that the publisher puts beside those of the decoder."""
SECOND = "Experts for images are among the parameters; none of them works on a token of text."


@family("ernie4_5_vl_moe_text", "ernie4_5_moe_vl")
def two_modalities(fields: Fields) -> Model:
    """The decoder for text, with the experts for images added to its layers."""
    fields.ignore(*OF_THE_TOWER)
    fields.expect("use_temporal_conv", True)
    text: dict[str, Any] = dict(fields.config)
    second = {}
    for name, default in PAIRS.items():
        text[name], second[name] = pair(fields, name, fields.config.get(name) or default)
    last = fields.integer("num_hidden_layers") - 1
    for name in PLACES:
        if fields.given(name):
            first, other = pair(fields, name, fields.config[name])
            if min(first, last) != min(other, last):
                raise fields.refuse(name, f"{short(fields.config[name])} differs by modality")
            text[name] = min(first, last)
    inner = Fields(text, fields.path)
    model = sparse_decoder(inner, TEXT)
    fields.read.update(inner.read, PAIRS, PLACES)

    def added(group: LayerGroup) -> LayerGroup:
        if not isinstance(group.mlp, MoE):
            return group
        count, size = second["moe_num_experts"], second["moe_intermediate_size"]
        extras = (
            *group.mlp.extras,
            *linear("vision_router", count, model.hidden_size, role="router"),
            Weight("vision_score_bias", (count,), "vector"),
            *projections(
                model.hidden_size, size, group.mlp.gated, group.mlp.bias,
                prefix="vision_experts.", copies=count, active=0, role="expert",
            ),
        )  # fmt: skip
        return group.model_copy(update={"mlp": group.mlp.model_copy(update={"extras": extras})})

    groups = tuple(added(group) for group in model.groups)
    return model.model_copy(update={"groups": groups, "notes": (*model.notes, SECOND)})


def pair(fields: Fields, name: str, value: Any) -> tuple[int, int]:
    """Two whole numbers, or one for both where it is not a width."""
    both = [value, value] if isinstance(value, int) and name != "moe_intermediate_size" else value
    numbers = isinstance(both, list) and all(type(n) is int and n >= 0 for n in both)
    if not numbers or len(both) != 2:
        raise fields.refuse(name, f"{short(value)} is not a number for text and one for images")
    return both[0], both[1]


@family("molmo2_text")
def tokens_of_its_own(fields: Fields) -> Model:
    """Molmo 2: rows of the embedding that the head does not share, for marks around images."""
    fields.fill(num_key_value_heads=8, head_dim=128)
    fields.ignore("rope_scaling_layers", "norm_after")
    per_head = fields.text("qk_norm_type", default="qwen3") == "qwen3"
    traits = replace(
        ATTENTION_BIAS, o_bias=False, qk_norm="head" if per_head else "width", ignored=(),
    )  # fmt: skip
    model = decoder(fields, traits)
    more = fields.integer("additional_vocab_size", default=128, least=0)
    rows = Weight("embed_tokens.additional", (more, model.hidden_size), "embedding")
    return model.model_copy(update={"embedding": (*model.embedding, rows)})
