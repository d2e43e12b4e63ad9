"""LongCat-Flash: two attentions and two dense parts a layer."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import cache_bytes

LONGCAT = {
    "model_type": "longcat_flash", "hidden_size": 6144, "num_layers": 28, "vocab_size": 131072,
    "num_attention_heads": 64, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "ffn_hidden_size": 12288, "moe_topk": 12,
    "expert_ffn_hidden_size": 2048, "n_routed_experts": 512, "zero_expert_num": 256,
    "attention_method": "MLA", "zero_expert_type": "identity", "router_bias": False,
    "mla_scale_q_lora": True, "mla_scale_kv_lora": True, "torch_dtype": "bfloat16",
}  # fmt: skip


def test_longcat_has_two_attentions_and_two_dense_parts_a_layer() -> None:
    """LongCat-Flash-Chat as published, worked out by hand: its card says 560 billion, at most 31.3
    billion at work (embedding left out)."""
    hidden = 6144
    attention = (
        hidden * 1536 + 1536 + 1536 * 64 * 192  # queries
        + hidden * 576 + 512 + 512 * 64 * 256  # keys and values
        + 64 * 128 * hidden
    )  # fmt: skip
    dense, expert, router = 3 * hidden * 12288, 3 * hidden * 2048, 768 * hidden
    layer = 2 * attention + 2 * dense + router + 4 * hidden
    outside = 2 * 131072 * hidden + hidden
    model = parse(LONGCAT)
    found = count(model)
    assert found.total == 28 * (layer + 512 * expert) + outside == 560_664_958_976
    assert found.active == 28 * (layer + 12 * expert) + outside
    assert round((found.active - found.embedding) / 1e9, 1) == 31.4
    assert cache_bytes(model, 1000) == 1000 * 2 * 28 * 576 * 2
    assert any("pass it on" in note for note in model.notes)


@pytest.mark.parametrize(("identities", "total"), [(0, 581_408), (4, 581_920)])
def test_small_longcat_is_counted_as_transformers_does(identities: int, total: int) -> None:
    """transformers 5.24 on the meta device; of 4 identities without the 32,768 numbers that its
    joint tensor of gates and ups has for them, which no checkpoint holds."""
    small = {
        **LONGCAT, "hidden_size": 64, "num_layers": 2, "vocab_size": 320, "num_attention_heads": 4,
        "q_lora_rank": 24, "kv_lora_rank": 32, "ffn_hidden_size": 96, "moe_topk": 2,
        "expert_ffn_hidden_size": 32, "n_routed_experts": 8, "zero_expert_num": identities,
    }  # fmt: skip
    assert count(parse(small)).total == total


def test_longcat_fields_that_contradict_are_refused() -> None:
    for field, value in (
        ("num_hidden_layers", 28), ("attention_method", "MHA"), ("zero_expert_type", "zero"),
        ("q_lora_rank", None), ("router_bias", True),
    ):  # fmt: skip
        with pytest.raises(ConfigRefused, match=field):
            parse({**LONGCAT, field: value})
