"""Towers of Qwen and ERNIE, which join neighbouring patches into one token."""

from typing import Any

import pytest

from planner.engines.vision_tower import tower_of
from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import text

QWEN_VL = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "tie_word_embeddings": False,
}  # fmt: skip
PATCHES = {
    "depth": 32, "num_heads": 16, "in_chans": 3, "patch_size": 14, "spatial_merge_size": 2,
    "spatial_patch_size": 14, "temporal_patch_size": 2,
}  # fmt: skip
QWEN2_VISION = {**PATCHES, "embed_dim": 1280, "mlp_ratio": 4, "hidden_size": 3584}
QWEN2_5_VISION = {
    **PATCHES, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584,
    "hidden_act": "silu", "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
    "tokens_per_second": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("model_type", "vision", "block", "last_norm"),
    [
        ("qwen2_vl", QWEN2_VISION, 2 * 1280 * 5120 + 5120 + 1280 + 4 * 1280, 2 * 1280),
        ("qwen2_5_vl", QWEN2_5_VISION, 3 * 1280 * 3420 + 2 * 3420 + 1280 + 2 * 1280, 1280),
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_qwen_towers(
    model_type: str, vision: dict[str, Any], block: int, last_norm: int, named: bool
) -> None:
    """As published, flat and without a model_type of the tower's own, worked out by hand. Engines'
    logs of both 7B models say 15.51 and 15.63 GiB of weights, rotary tables included."""
    attention = 4 * 1280**2 + 4 * 1280
    merger = 5120 * 5120 + 5120 + 5120 * 3584 + 3584
    expected = 32 * (attention + block) + 3 * 2 * 14 * 14 * 1280 + last_norm + merger
    config = {**QWEN_VL, "model_type": model_type, "vision_config": dict(vision)}
    if named:
        config["vision_config"]["model_type"] = model_type
    found = parse(config)
    assert count(found).towers == expected
    assert found.parameters_elsewhere == ()
    by_widths, loaded = tower_of(config), tower_of(config, found)
    assert by_widths is not None
    assert by_widths.dynamic
    assert abs(by_widths.parameters / expected - 1) < 2e-4
    assert loaded is not None
    assert loaded.parameters == expected


def test_a_tower_of_another_width_is_not_counted() -> None:
    vision = {**QWEN2_5_VISION, "out_hidden_size": 2048}
    found = parse({**QWEN_VL, "model_type": "qwen2_5_vl", "vision_config": vision})
    assert count(found).towers == 0
    assert found.parameters_elsewhere == ("vision_config",)


def test_deep_stacks_that_are_not_named_are_those_of_the_class() -> None:
    """Three mergers more where Qwen3-VL's class gives layers 8, 16 and 24; none in Qwen3.5's."""
    vision = {"model_type": "qwen3_vl", "out_hidden_size": 64, "depth": 2}
    config = {"model_type": "qwen3_vl", "text_config": text(64), "vision_config": vision}
    absent = count(parse(config)).towers
    vision["deepstack_visual_indexes"] = [8, 16, 24]
    assert count(parse(config)).towers == absent
    vision["deepstack_visual_indexes"] = []
    merged = 4 * 1152
    assert absent - count(parse(config)).towers == 3 * (merged * merged + merged * 67 + 64)


def test_ernies_tower_under_its_publishers_names() -> None:
    """630,433,280 of the tower and 144,225,280 of the resampler, as transformers' own 28B."""
    vision = {
        "model_type": "DFNRope_vision_transformer", "attn_sep": True, "depth": 32,
        "embed_dim": 1280, "hidden_size": 1280, "in_channels": 3, "in_chans": 3, "mlp_ratio": 4,
        "num_heads": 16, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
    }  # fmt: skip
    config = {
        "model_type": "ernie4_5_moe_vl", "hidden_size": 2560, "intermediate_size": 12288,
        "num_attention_heads": 20, "num_key_value_heads": 4, "num_hidden_layers": 28,
        "vocab_size": 103424, "moe_num_experts": [64, 64], "moe_intermediate_size": [1536, 512],
        "moe_k": 6, "moe_layer_start_index": [1, 1], "moe_layer_end_index": [28, 28],
        "moe_num_shared_experts": 2, "tie_word_embeddings": True, "im_patch_id": 100295,
        "pixel_hidden_size": 1280, "spatial_conv_size": 2, "temporal_conv_size": 2,
        "use_temporal_conv": True, "vision_config": vision,
    }  # fmt: skip
    assert count(parse(config)).towers == 630_433_280 + 144_225_280
    with pytest.raises(ConfigRefused, match="use_temporal_conv"):
        parse({**config, "use_temporal_conv": False})
