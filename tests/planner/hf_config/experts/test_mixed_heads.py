"""Step 3.5: layers with windows have heads of another number."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import cache_bytes

STEP_3 = {
    "model_type": "step3p5", "vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 5,
    "num_attention_heads": 4, "num_attention_groups": 2, "intermediate_size": 96, "head_dim": 16,
    "moe_num_experts": 6, "moe_top_k": 2, "moe_intermediate_size": 24, "share_expert_dim": 40,
    "sliding_window": 16, "num_nextn_predict_layers": 1,
    "layer_types": ["full_attention", "sliding_attention", "sliding_attention"] * 2,
    "attention_other_setting": {"num_attention_heads": 6},
}  # fmt: skip


def test_step_3_reads_its_own_names_and_its_window_layers_heads() -> None:
    """243936 is Step3p7TextModel of transformers 5.23 on the meta device, with its head."""
    model = parse(STEP_3)
    assert count(model).total == 243936
    assert [len(g.layers) for g in model.groups if g.kind == "sliding"] == [2, 1]
    assert cache_bytes(model, 1024) == 2 * 2 * 2 * 16 * (2 * 1024 + 3 * 16)


def test_step_3_without_its_window_layers_heads_is_refused() -> None:
    config = {k: v for k, v in STEP_3.items() if k != "attention_other_setting"}
    with pytest.raises(ConfigRefused, match="num_sliding_attention_heads"):
        parse(config)
