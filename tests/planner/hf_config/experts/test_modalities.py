"""ERNIE 4.5 VL: experts for text and for images."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import cache_bytes

ERNIE_VL = {
    "model_type": "ernie4_5_moe_vl", "hidden_size": 2560, "intermediate_size": 12288,
    "num_hidden_layers": 28, "num_attention_heads": 20, "num_key_value_heads": 4, "head_dim": 128,
    "vocab_size": 103424, "tie_word_embeddings": True, "moe_k": 6, "moe_num_shared_experts": 2,
    "moe_num_experts": [64, 64], "moe_intermediate_size": [1536, 512], "moe_layer_interval": 1,
    "moe_layer_start_index": [1, 1], "moe_layer_end_index": [29, 28], "rope_3d": True,
}  # fmt: skip


def test_ernie_vl_has_experts_for_text_and_for_images() -> None:
    """ERNIE-4.5-VL-28B-A3B: parameters of transformers 5.24's default on the meta device; those at
    work on a token of text by hand."""
    model = parse(ERNIE_VL)
    found = count(model)
    assert found.total == 28_624_635_776
    attention = 2560 * 128 * (20 + 4 + 4 + 20) + 2 * 2560
    expert, router = 3 * 2560 * 1536, 64 * 2560 + 64
    sparse = attention + (6 + 2) * expert + 2 * router
    dense = attention + 3 * 2560 * 12288
    assert found.active == 27 * sparse + dense + 103424 * 2560 + 2560
    assert cache_bytes(model, 1000) == 1000 * 28 * 2 * 4 * 128 * 2
    assert any("images" in note for note in model.notes)
    plain = {**ERNIE_VL, "model_type": "ernie4_5_vl_moe_text", "moe_num_experts": 64}
    for name in ("moe_layer_interval", "moe_layer_start_index", "moe_layer_end_index", "rope_3d"):
        del plain[name]
    assert count(parse(plain)).total == found.total


def test_ernie_vls_head_never_has_a_bias() -> None:
    """use_bias adds 434,176 parameters to transformers 5.24's default class."""
    assert count(parse({**ERNIE_VL, "use_bias": True})).total == 28_624_635_776 + 434_176


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("moe_num_experts", [64]),
        ("moe_num_experts", "many"),
        ("moe_intermediate_size", 1536),
        ("moe_intermediate_size", [1536, "512"]),
        ("moe_layer_start_index", [1, 3]),
        ("moe_layer_end_index", [29, 12]),
    ],
)
def test_ernie_vl_modalities_that_do_not_pair_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigRefused, match=field):
        parse({**ERNIE_VL, field: value})
