"""Dense and early decoders against counts that transformers and their publishers made.

counted_dense.json was made by make_counted.py (transformers 5.23, meta device), which does not
import the planner.
"""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.hf_config.counts import cache, cases, parameters
from tests.planner.models import SMALL, cache_bytes

COUNTED = cases("dense")


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case["name"])
def test_counted_with_transformers(case: dict[str, Any]) -> None:
    model = parse(case["config"])
    assert parameters(model) == case["parameters"]
    assert cache(model, case) == case["kv_cache_bytes"]


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case["name"])
def test_a_field_nobody_knows_is_refused_by_name(case: dict[str, Any]) -> None:
    for name, value in (("num_memory_tokens", 4), ("attention_type", "banana")):
        with pytest.raises(ConfigRefused, match=name) as refused:
            parse({**case["config"], name: value})
        assert refused.value.field == name


@pytest.mark.parametrize("case", COUNTED, ids=lambda case: case["name"])
def test_a_field_nobody_knows_is_accepted_when_it_says_nothing(case: dict[str, Any]) -> None:
    plain = count(parse(case["config"]))
    for value in (None, False, "", [], {}):
        assert count(parse({**case["config"], "unheard_of": value})) == plain


HUNYUAN = {
    "model_type": "hunyuan_v1_dense", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
    "attention_head_dim": 128, "vocab_size": 128167, "tie_word_embeddings": True,
    "use_qk_norm": True, "use_cla": False, "pad_id": 127961, "eod_token_id": 3,
}  # fmt: skip
TELECHAT = {
    "model_type": "telechat", "hidden_size": 4096, "ffn_hidden_size": 12288, "n_layer": 30,
    "n_head": 32, "num_key_value_heads": 32, "vocab_size": 131072, "embed_layernorm": False,
    "bias_dropout_fusion": True, "masked_softmax_fusion": True, "flash_attn": True,
}  # fmt: skip
LING = {
    "model_type": "bailing_moe", "hidden_size": 2048, "intermediate_size": 5632, "head_dim": 128,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 4,
    "vocab_size": 126464, "moe_intermediate_size": 1408, "num_experts": 64,
    "num_experts_per_tok": 6, "num_shared_experts": 2, "first_k_dense_replace": 0,
    "norm_head": True, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "layer", "layers", "outside"),
    [
        (HUNYUAN, 2 * 4096 * (4096 + 1024) + 3 * 4096 * 14336 + 2 * 4096 + 2 * 128, 32,
         128167 * 4096 + 4096),
        (TELECHAT, 4 * 4096**2 + 3 * 4096 * 12288 + 4 * 4096, 30, 2 * 131072 * 4096 + 4096),
        (LING, 2 * 2048 * (2048 + 512) + 3 * 2048 * 1408 * (64 + 2) + 64 * 2048 + 2 * 2048, 28,
         2 * 126464 * 2048 + 2048),
    ],
    ids=["Hunyuan-7B", "TeleChat2-7B", "Ling-lite"],
)  # fmt: skip
def test_fields_of_published_files_that_size_nothing(
    config: dict[str, Any], layer: int, layers: int, outside: int
) -> None:
    """Padding, fused kernels and a head normalised as it is loaded; the sums are worked out."""
    assert count(parse(config)).total == layers * layer + outside


# Families whose code is published with their weights: total parameters as their publishers state
# them (model card, paper, or the sum over the published tensors).
PUBLISHED = {
    "Qwen-7B": (
        {
            "model_type": "qwen", "vocab_size": 151936, "hidden_size": 4096,
            "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 22016,
            "kv_channels": 128, "no_bias": True, "seq_length": 8192, "tie_word_embeddings": False,
        },
        7_721_324_544,
    ),
    "internlm2-7b": (
        {
            "model_type": "internlm2", "vocab_size": 92544, "hidden_size": 4096,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
            "intermediate_size": 14336, "bias": False, "tie_word_embeddings": False,
        },
        7_737_708_544,
    ),
    "MiniCPM-2B": (
        {
            "model_type": "minicpm", "vocab_size": 122753, "hidden_size": 2304,
            "num_hidden_layers": 40, "num_attention_heads": 36, "num_key_value_heads": 36,
            "intermediate_size": 5760, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256,
        },
        2_724_880_896,
    ),
    "EXAONE-3.0-7.8B": (
        {
            "model_type": "exaone", "vocab_size": 102400, "hidden_size": 4096, "num_layers": 32,
            "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
            "tie_word_embeddings": False,
        },
        7_818_448_896,
    ),
    "OpenELM-270M": (
        {
            "model_type": "openelm", "vocab_size": 32000, "model_dim": 1280, "head_dim": 64,
            "num_transformer_layers": 16, "ffn_with_glu": True, "ffn_dim_divisor": 256,
            "num_query_heads": [12] * 5 + [16] * 7 + [20] * 4,
            "num_kv_heads": [3] * 5 + [4] * 7 + [5] * 4,
            "ffn_multipliers": [
                0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13, 2.37, 2.6, 2.83, 3.07, 3.3, 3.53,
                3.77, 4.0,
            ],
            "normalize_qk_projections": True, "share_input_output_layers": True,
        },
        271_527_168,
    ),
    "stablelm-3b-4e1t": (
        {
            "model_type": "stablelm_epoch", "vocab_size": 50304, "hidden_size": 2560,
            "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
            "intermediate_size": 6912, "rope_pct": 0.25,
        },
        2_795_443_200,
    ),
    "Baichuan-7B": (
        {
            "model_type": "baichuan", "vocab_size": 64000, "hidden_size": 4096,
            "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008,
        },
        7_000_559_616,
    ),
    "Baichuan-13B": (
        {
            "model_type": "baichuan", "vocab_size": 64000, "hidden_size": 5120,
            "num_hidden_layers": 40, "num_attention_heads": 40, "intermediate_size": 13696,
        },
        13_264_901_120,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_totals(name: str) -> None:
    config, total = PUBLISHED[name]
    assert count(parse(config)).total == total


def test_prediction_layers_are_counted_apart() -> None:
    """MiMo-7B's published tensors hold 7.83 billion parameters, its prediction layer among them."""
    config = {
        "model_type": "mimo", "vocab_size": 151680, "hidden_size": 4096, "num_hidden_layers": 36,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 11008,
        "num_nextn_predict_layers": 1,
    }  # fmt: skip
    found = count(parse(config))
    assert found.total + found.mtp == 7_833_409_536
    assert found.mtp > 0


def test_searched_networks_leave_parts_out() -> None:
    """Nemotron-NAS: attention or feed-forward parts that are missing, linear or of other sizes."""
    full = {"n_heads_in_group": 4, "no_op": False, "replace_with_linear": False}
    wide = {"ffn_mult": 2.625, "no_op": False, "replace_with_linear": False}
    none = {"no_op": True, "replace_with_linear": False}
    matrix = {"no_op": False, "replace_with_linear": True}
    config = {
        "model_type": "nemotron-nas", "vocab_size": 1000, "hidden_size": 1024,
        "num_hidden_layers": 4, "num_attention_heads": 16, "num_key_value_heads": None,
        "block_configs": [
            {"attention": full, "ffn": wide},
            {"attention": none, "ffn": wide},
            {"attention": matrix, "ffn": none},
            {"attention": {**full, "n_heads_in_group": 16}, "ffn": matrix},
        ],
    }  # fmt: skip
    model = parse(config)
    ffn = 3 * 1792 * 1024  # 2 / 3 * 2.625 * 1024, which is a multiple of 256 already
    attention, one_kv_head = 2 * 1024**2 + 2 * 256 * 1024, 2 * 1024**2 + 2 * 64 * 1024
    layers = (attention + ffn) + ffn + 1024**2 + (one_kv_head + 1024**2) + 6 * 1024
    assert count(model).total == layers + 2 * 1000 * 1024 + 1024
    assert cache_bytes(model, 100) == 2 * 100 * (2 * 4 * 64 + 2 * 1 * 64)


def test_local_layers_of_gpt_neo_keep_their_window() -> None:
    config = {
        "model_type": "gpt_neo", "vocab_size": 50257, "hidden_size": 768, "num_layers": 12,
        "num_heads": 12, "attention_types": [[["global", "local"], 6]], "window_size": 256,
        "max_position_embeddings": 2048,
    }  # fmt: skip
    assert cache_bytes(parse(config), 2048) == 2 * 2 * 768 * 6 * (2048 + 256)


@pytest.mark.parametrize(
    ("written", "slides"),
    [
        ({"sliding_window_pattern": "LLLG"}, [1, 1, 1, 0, 1, 1, 1, 0, 1, 0]),
        ({"sliding_window_pattern": 4}, [1, 1, 1, 0, 1, 1, 1, 0, 1, 1]),
        ({"layer_types": ["sliding_attention", "full_attention"] * 5}, [1, 0] * 5),
        ({"sliding_window": None}, [0] * 10),
    ],
)
def test_window_patterns_in_every_form(written: dict[str, Any], slides: list[int]) -> None:
    """EXAONE 4 writes letters; its last layer keeps everything then."""
    config = {
        "model_type": "exaone4", "vocab_size": 1000, "hidden_size": 256, "num_hidden_layers": 10,
        "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 512,
        "sliding_window": 128, **written,
    }  # fmt: skip
    model = parse(config)
    found = [int(mixer.window is not None) for i in range(10) for mixer in model.layer_of(i).mixers]
    assert found == slides


def test_llama_under_other_names() -> None:
    config = {
        "vocab_size": 64000, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32,
    }  # fmt: skip
    llama = count(parse({**config, "model_type": "llama"}))
    for name in ("Yi", "aquila", "xverse", "baichuan", "mistral"):
        assert count(parse({**config, "model_type": name})) == llama


def test_a_null_is_refused_where_it_may_mean_either() -> None:
    """Falcon's code takes a null multi_query for false, its class's own value is true."""
    falcon = {
        "model_type": "falcon", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 320,
        "num_attention_heads": 4, "parallel_attn": True, "bias": False, "alibi": False,
    }  # fmt: skip
    assert parse({**falcon, "multi_query": True}).groups == parse(falcon).groups
    with pytest.raises(ConfigRefused, match="multi_query is null"):
        parse({**falcon, "multi_query": None})
    assert parse({**falcon, "bias": None}).groups == parse(falcon).groups


@pytest.mark.parametrize(
    ("config", "total"),
    [
        ({"model_type": "paddleocr_vl_text", "vocab_size": 103424, "hidden_size": 1024,
          "intermediate_size": 3072, "num_hidden_layers": 18, "num_attention_heads": 16,
          "num_key_value_heads": 2, "head_dim": 128, "tie_word_embeddings": True}, 360_748_032),
        ({"model_type": "hunyuan_vl_text", "vocab_size": 290943, "hidden_size": 4096,
          "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
          "num_key_value_heads": 32, "head_dim": 128, "tie_word_embeddings": True}, 7_667_982_336),
        ({"model_type": "glm_ocr_text", "vocab_size": 59392, "hidden_size": 1024,
          "intermediate_size": 4096, "num_hidden_layers": 16, "num_attention_heads": 16,
          "num_key_value_heads": 8}, 373_359_616),
        ({"model_type": "dots_ocr", "vocab_size": 151936, "hidden_size": 1536,
          "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
          "num_key_value_heads": 2, "attention_bias": True, "use_sliding_window": False},
         28 * (1536 * (1536 + 512 + 1536) + 1536 + 512 + 3 * 1536 * 8960 + 2 * 1536)
         + 2 * 151936 * 1536 + 1536),
    ],
)  # fmt: skip
def test_readers_of_documents(config: dict[str, Any], total: int) -> None:
    """The first three are defaults of their classes in transformers 5.24, the last by hand."""
    assert count(parse(config)).total == total


@pytest.mark.parametrize(
    ("changes", "total"),
    [
        ({"model_type": "emu3_text_model"}, 133_568),
        ({"model_type": "emu3_text_model", "tie_word_embeddings": True}, 113_088),
        ({"model_type": "emu3_text_model", "num_key_value_heads": 1}, 127_424),
        ({"model_type": "chameleon", "num_key_value_heads": 4}, 146_624),
        ({"model_type": "chameleon", "num_key_value_heads": 4, "attention_bias": True,
          "mlp_bias": True}, 148_160),
        ({"model_type": "chameleon"}, 134_144),
    ],
)  # fmt: skip
def test_decoders_that_stand_in_no_auto_class(changes: dict[str, Any], total: int) -> None:
    """Emu3ForCausalLM, and Chameleon's class without its image tokenizer, on the meta device."""
    plain = {**SMALL, "num_hidden_layers": 3, **changes}
    del plain["head_dim"]
    assert count(parse(plain)).total == total
