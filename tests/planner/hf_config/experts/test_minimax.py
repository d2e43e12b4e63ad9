"""MiniMax-M3's decoder in a file of its own."""

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count

SPARSE = [0] * 3 + [1] * 57
M3 = {
    "model_type": "minimax_m3", "hidden_size": 6144, "num_hidden_layers": 60, "head_dim": 128,
    "num_attention_heads": 64, "num_key_value_heads": 4, "vocab_size": 200064,
    "dense_intermediate_size": 12288, "intermediate_size": 3072, "moe_intermediate_size": 3072,
    "shared_intermediate_size": 3072, "num_local_experts": 128, "num_experts_per_tok": 4,
    "n_shared_experts": 1, "first_k_dense_replace": 3, "moe_layer_freq": SPARSE,
    "tie_word_embeddings": False, "num_mtp_modules": 7, "num_nextn_predict_layers": 1,
    "sparse_attention_config": {
        "use_sparse_attention": True, "sparse_attention_freq": SPARSE, "sparse_index_dim": 128,
        "sparse_disable_index_value": SPARSE, "sparse_num_index_heads": 4,
        "sparse_block_size": 128, "sparse_topk_blocks": 16, "sparse_local_block": 1,
        "sparse_init_block": 0, "sparse_score_type": "max",
    },
}  # fmt: skip


def test_the_decoder_alone_is_that_of_the_whole_file() -> None:
    """426,174,565,632: MiniMaxM3VLForCausalLM of transformers 5.23 on the meta device."""
    model = parse(M3)
    assert count(model).total == 426_174_565_632
    assert any("are not counted" in note for note in model.notes)


@pytest.mark.parametrize(
    ("field", "value"), [("first_k_dense_replace", 2), ("moe_intermediate_size", 1536)]
)
def test_what_is_said_twice_must_agree(field: str, value: int) -> None:
    with pytest.raises(ConfigRefused) as refused:
        parse({**M3, field: value})
    assert refused.value.field in (field, "intermediate_size")
