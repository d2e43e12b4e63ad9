"""Configurations as transformers saves them, which names more fields than publishers do.

The default of every class that Sizewell reads, sized against counts made by make_counted.py.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.engines.vision_tower import tower_of
from planner.errors import ConfigRefused
from planner.hf_config import parse
from planner.parameters import count
from tests.planner.models import DEEPSEEK_V3, cache_bytes

DATA = json.loads((Path(__file__).parent / "data" / "counted_saved.json").read_text())
CASES = [pytest.param(case, id=case["config"]["model_type"]) for case in DATA["cases"]]


# Indexers' keys lie outside the cache of transformers; of gpt_neo it keeps local layers whole.
OTHER_CACHE = ("deepseek_v32", "deepseek_v4", "glm_moe_dsa", "gpt_neo")


@pytest.mark.parametrize("case", CASES)
def test_a_saved_default_is_sized_as_its_class(case: dict[str, Any]) -> None:
    model = parse(case["config"])
    found = count(model)
    parameters = {"total": found.total, "active": found.active, "embedding": found.embedding}
    assert parameters == case["parameters"]
    if model.model_type not in OTHER_CACHE:
        held = {n: cache_bytes(model, int(n)) for n in case["kv_cache_bytes"]}
        assert held == case["kv_cache_bytes"]


def test_dbrx_has_its_heads_in_one_place_or_twice_the_same() -> None:
    """transformers saves the nested number of KV heads a second time."""
    config = {
        "model_type": "dbrx", "d_model": 64, "n_heads": 4, "n_layers": 3, "vocab_size": 320,
        "attn_config": {"kv_n_heads": 2}, "ffn_config": {"ffn_hidden_size": 48},
    }  # fmt: skip
    assert parse({**config, "num_key_value_heads": 2}).groups == parse(config).groups
    with pytest.raises(ConfigRefused, match="num_key_value_heads"):
        parse({**config, "num_key_value_heads": 4})


def test_fields_beside_the_text_model_that_size_nothing() -> None:
    """aya-vision-8b as published: its adapter's epsilon stands beside the text model."""
    text = {
        "model_type": "cohere2", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 320,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    }  # fmt: skip
    beside = {"adapter_layer_norm_eps": 1e-06, "downsample_factor": 2, "vision_feature_layer": -1}
    wrapped = parse({"model_type": "aya_vision", "text_config": text, **beside})
    assert count(wrapped).total == count(parse(text)).total
    with pytest.raises(ConfigRefused, match="adapter_layers"):
        parse({"model_type": "aya_vision", "text_config": text, "adapter_layers": 2})


def test_prefixes_seen_both_ways_cost_no_memory_and_an_encoder_is_refused() -> None:
    text = {
        "model_type": "gemma", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 320,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 16,
    }  # fmt: skip
    seen = {**text, "use_bidirectional_attention": True}
    wrapped = parse({"model_type": "paligemma", "text_config": seen})
    assert wrapped.groups == parse(text).groups
    with pytest.raises(ConfigRefused, match="use_bidirectional_attention"):
        parse(seen)


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


def test_deepseek_ocr_has_experts_but_no_latents() -> None:
    """Its language_config as published, worked out by hand."""
    language = {
        "first_k_dense_replace": 1, "hidden_size": 1280, "intermediate_size": 6848,
        "kv_lora_rank": None, "lm_head": True, "moe_intermediate_size": 896, "n_group": 1,
        "n_routed_experts": 64, "n_shared_experts": 2, "num_attention_heads": 10,
        "num_experts_per_tok": 6, "num_hidden_layers": 12, "num_key_value_heads": 10,
        "q_lora_rank": None, "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "rm_head": False,
        "topk_group": 1, "topk_method": "greedy", "use_mla": False, "v_head_dim": 0,
        "vocab_size": 129280,
    }  # fmt: skip
    around = {"model_type": "deepseek_vl_v2", "candidate_resolutions": [[1024, 1024]]}
    model = parse({**around, "language_config": language, "tile_tag": "2D"})
    layer = 4 * 1280**2 + 2 * 1280
    experts = (64 + 2) * 3 * 1280 * 896 + 64 * 1280
    outside = 2 * 129280 * 1280 + 1280
    assert count(model).total == 12 * layer + 3 * 1280 * 6848 + 11 * experts + outside
    assert cache_bytes(model, 1000) == 1000 * 2 * 12 * 2 * 1280
    with pytest.raises(ConfigRefused, match="use_mla"):
        parse({**DEEPSEEK_V3, "use_mla": False})
    latent = {**language, "qk_nope_head_dim": 128}
    with pytest.raises(ConfigRefused, match="qk_nope_head_dim"):
        parse({**around, "language_config": latent})


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


def test_llama_4_as_published_has_rotary_positions_by_interval() -> None:
    """Llama-4-Scout's file says no_rope_layers: [], which its class takes for every fourth."""
    text = {
        "model_type": "llama4_text", "hidden_size": 64, "intermediate_size": 48,
        "intermediate_size_mlp": 96, "num_hidden_layers": 8, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 320, "num_local_experts": 4,
        "num_experts_per_tok": 1, "attention_chunk_size": 8192, "interleave_moe_layer_step": 1,
    }  # fmt: skip
    assert parse({**text, "no_rope_layers": []}).groups == parse(text).groups
    assert parse(text).layer_counts == {"chunked": 6, "full": 2}
    with pytest.raises(ConfigRefused, match="no_rope_layers"):
        parse({**text, "no_rope_layers": [1, 0]})


def test_pixtrals_tower_in_mistral_3() -> None:
    """Mistral-Small-3.1's vision_config as published; the sum is transformers 5.24's too."""
    vision = {
        "model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "head_dim": 64,
        "image_size": 1540, "num_attention_heads": 16, "num_channels": 3, "num_hidden_layers": 24,
        "patch_size": 14, "hidden_act": "silu", "attention_dropout": 0.0, "rope_theta": 10000.0,
    }  # fmt: skip
    text = {
        "model_type": "mistral", "hidden_size": 5120, "intermediate_size": 32768, "head_dim": 128,
        "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 131072, "sliding_window": None,
    }  # fmt: skip
    around = {"model_type": "mistral3", "multimodal_projector_bias": False, "spatial_merge_size": 2}
    found = parse({**around, "vision_config": vision, "text_config": text})
    layer = 4 * 1024**2 + 3 * 1024 * 4096 + 2 * 1024
    joined = 4 * 1024 * 1024 + 1024 + 1024 * 5120 + 5120**2
    assert count(found).towers == 24 * layer + 3 * 14 * 14 * 1024 + 1024 + joined == 438_958_080
    assert found.parameters_elsewhere == ()
    wide = {**around, "vision_config": {**vision, "extra_blocks": 3}, "text_config": text}
    assert count(parse(wide)).towers == 0
