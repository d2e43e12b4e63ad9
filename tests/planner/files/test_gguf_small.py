"""Small GGUF models by hand, of families whose code stands beside their weights."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.files.gguf_config import config_of
from planner.files.gguf_header import GgufHeader, read_header
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.weights import weights_bytes
from tests.planner.files.small_gguf import (
    SMALL,
    Shape,
    attention,
    blocks,
    dense,
    experts,
    keys,
    model,
    outside,
    small,
    typed,
)
from tests.planner.files.written import gguf


def test_mixtral_is_a_llama_with_experts() -> None:
    metadata, tensors = small(expert_count=8, expert_used_count=2)
    dense_ones = [name for name in tensors if ".ffn_" in name and "norm" not in name]
    for name in dense_ones:
        del tensors[name]
    tensors |= typed(blocks(2, lambda _: experts(SMALL, 8, 512)))
    found = model(gguf(metadata, tensors))
    assert found.model_type == "mixtral"
    assert weights_bytes(assign(found, "auto")).experts == 2 * 8 * (3 * 512 * 256 + 256) // 32 * 34


def stored(header: GgufHeader) -> int:
    return sum(tensor.bytes for tensor in header.tensors)


BIASED_NORMS: dict[str, Shape] = {"attn_norm.bias": (256,), "ffn_norm.bias": (256,)}
MULTI_HEAD = {**SMALL, "num_key_value_heads": 4}


@pytest.mark.parametrize(
    ("architecture", "model_type", "config", "more"),
    [
        ("baichuan", "baichuan", MULTI_HEAD, {}),
        ("exaone", "exaone", SMALL, {}),
        ("internlm2", "internlm2", SMALL, {}),
        ("minicpm", "minicpm", SMALL, {}),
        ("nanbeige", "nanbeige", SMALL, {}),
        ("orion", "orion", SMALL, BIASED_NORMS),
        ("xverse", "xverse", MULTI_HEAD, {}),
    ],
)
def test_dense_families(
    architecture: str, model_type: str, config: dict[str, Any], more: dict[str, Shape]
) -> None:
    shapes = outside(config)
    if more:
        shapes["output_norm.bias"] = (256,)
    shapes |= blocks(2, lambda _: {**attention(config), **dense(config), **more})
    header = read_header(gguf(keys(architecture, config), typed(shapes)))
    found = parse(config_of([header]))
    assert found.model_type == model_type
    assert weights_bytes(assign(found, "auto")).total == stored(header)


@pytest.mark.parametrize(
    ("architecture", "model_type", "shared", "biased"),
    [
        ("bailingmoe", "bailing_moe", 2, False),
        ("bailingmoe2", "bailing_moe_v2", 1, True),
        ("deepseek", "deepseek", 2, False),
    ],
)
def test_families_with_shared_experts(
    architecture: str, model_type: str, shared: int, biased: bool
) -> None:
    """The first layer is dense; Ling 2 adds to routing scores and normalises queries and keys."""
    width = 64 * shared
    part: dict[str, Shape] = {
        **experts(SMALL, 8, 64), "ffn_gate_shexp.weight": (width, 256),
        "ffn_up_shexp.weight": (width, 256), "ffn_down_shexp.weight": (256, width),
    }  # fmt: skip
    both = attention(SMALL)
    if biased:
        part["exp_probs_b.bias"] = (8,)
        both |= {"attn_q_norm.weight": (64,), "attn_k_norm.weight": (64,)}
    shapes = outside(SMALL) | blocks(2, lambda i: {**both, **(part if i else dense(SMALL))})
    metadata = keys(
        architecture, SMALL, expert_count=8, expert_used_count=2, expert_feed_forward_length=64,
        expert_shared_count=shared, leading_dense_block_count=1, expert_weights_scale=1.0,
    )  # fmt: skip
    header = read_header(gguf(metadata, typed(shapes)))
    found = parse(config_of([header]))
    assert found.model_type == model_type
    assert [type(group.mlp).__name__ for group in found.groups] == ["Mlp", "MoE"]
    assert weights_bytes(assign(found, "auto")).total == stored(header)


def test_layers_found_by_search() -> None:
    """Nemotron-NAS: attention, a matrix in its place, none, and a layer without any part."""
    config = {**SMALL, "num_hidden_layers": 4}
    whole, norms = attention(config), ("attn_norm.weight", "ffn_norm.weight")
    linear: dict[str, Shape] = {"attn_output.weight": (256, 256), norms[0]: (256,)}
    layers: list[dict[str, Shape]] = [
        {**whole, **dense(config)},
        {**linear, norms[1]: (256,), **dense(config)},
        {norms[1]: (256,), **dense(config)},
        {},
    ]
    metadata = keys(
        "deci", config, attention__head_count=[4, 4, 0, 0], attention__head_count_kv=[2, 0, 0, 0],
        feed_forward_length=[512, 512, 512, 0],
    )  # fmt: skip
    shapes = outside(config) | blocks(4, lambda index: layers[index])
    header = read_header(gguf(metadata, typed(shapes)))
    found = parse(config_of([header]))
    assert [len(group.mixers) for group in found.groups] == [1, 0, 0, 0]
    assert weights_bytes(assign(found, "auto")).total == stored(header)
    metadata["deci.feed_forward_length"] = [512, 512]
    with pytest.raises(ConfigRefused, match=r"feed_forward_length is no whole number for each of"):
        config_of([read_header(gguf(metadata, typed(shapes)))])


def test_decilm_lists_its_kv_heads() -> None:
    shapes = outside(SMALL)
    for index, kv_heads in enumerate((4, 1)):
        part = {**attention({**SMALL, "num_key_value_heads": kv_heads}), **dense(SMALL)}
        shapes |= {f"blk.{index}.{name}": shape for name, shape in part.items()}
    metadata = keys("deci", SMALL, attention__head_count_kv=[4, 1])
    header = read_header(gguf(metadata, typed(shapes)))
    found = parse(config_of([header]))
    assert found.model_type == "deci"
    assert weights_bytes(assign(found, "auto")).total == stored(header)


def test_norms_behind_parts_and_fused_matrices() -> None:
    """PLaMo 3: two norms without the usual ending, query, key and value in one."""
    layer: dict[str, Shape] = {
        "attn_norm.weight": (256,), "attn_qkv.weight": (8 * 64, 256), "attn_q_norm.weight": (64,),
        "attn_k_norm.weight": (64,), "attn_output.weight": (256, 256), "ffn_norm.weight": (256,),
        "post_attention_norm": (256,), "post_ffw_norm": (256,), "ffn_up.weight": (1024, 256),
        "ffn_down.weight": (256, 512),
    }  # fmt: skip
    shapes = outside(SMALL, tied=True) | blocks(2, lambda _: layer)
    metadata = keys(
        "plamo3", SMALL, attention__key_length=64, attention__value_length=64,
        attention__sliding_window=2048, attention__sliding_window_pattern=2,
    )  # fmt: skip
    header = read_header(gguf(metadata, typed(shapes)))
    found = parse(config_of([header]))
    assert found.layer_counts == {"sliding": 1, "full": 1}
    assert weights_bytes(assign(found, "auto")).total == stored(header)


def test_a_gate_for_each_head() -> None:
    """Spark 2.5, whose windows are listed."""
    layer: dict[str, Shape] = {**attention(SMALL), **dense(SMALL), "attn_gate.weight": (4, 256)}
    shapes = outside(SMALL, tied=True) | blocks(2, lambda _: layer)
    metadata = keys(
        "spark2_5", SMALL, attention__sliding_window=1024,
        attention__sliding_window_pattern=[True, False],
    )  # fmt: skip
    header = read_header(gguf(metadata, typed(shapes)))
    found = parse(config_of([header]))
    assert found.layer_counts == {"sliding": 1, "full": 1}
    assert weights_bytes(assign(found, "auto")).total == stored(header)


def test_rwkv_7() -> None:
    """Tensors as rwkv7.cpp creates them: the first layer has parts of a value residual that nothing
    uses, and a norm before its own outside the layers."""
    config = {**SMALL, "num_attention_heads": 0, "num_key_value_heads": 0}
    names = ("time_mix_w0", "time_mix_a0", "time_mix_k_k", "time_mix_k_a", "time_mix_r_k",
             "time_mix_ln", "channel_mix_lerp_k", "attn_norm", "attn_norm_2")  # fmt: skip
    square = ("key", "value", "receptance", "output")
    common: dict[str, Shape] = {
        **{f"{name}.weight": (256,) for name in names},
        **{f"{name}.bias": (256,) for name in ("time_mix_ln", "attn_norm", "attn_norm_2")},
        **{f"time_mix_{name}.weight": (256, 256) for name in square},
        "time_mix_lerp_fused.weight": (6, 1, 1, 256), "time_mix_w1.weight": (32, 256),
        "time_mix_w2.weight": (256, 32), "time_mix_a1.weight": (64, 256),
        "time_mix_a2.weight": (256, 64), "time_mix_g1.weight": (128, 256),
        "time_mix_g2.weight": (256, 128), "channel_mix_key.weight": (512, 256),
        "channel_mix_value.weight": (256, 512),
    }  # fmt: skip

    def layer(index: int) -> dict[str, Shape]:
        rank = 96 if index else 64
        values: dict[str, Shape] = {
            "time_mix_v0.weight": (256,),
            "time_mix_v1.weight": (rank, 256),
            "time_mix_v2.weight": (256, rank),
        }
        return {**common, **values}

    shapes = outside(config) | blocks(2, layer)
    ends = ("weight", "bias")
    shapes |= {f"token_embd_norm.{end}": (256,) for end in ends} | {"output_norm.bias": (256,)}
    metadata = keys(
        "rwkv7", config, wkv__head_size=64, attention__decay_lora_rank=32,
        attention__iclr_lora_rank=64, attention__value_residual_mix_lora_rank=96,
        attention__gate_lora_rank=128,
    )  # fmt: skip
    del metadata["rwkv7.attention.head_count_kv"]
    header = read_header(gguf(metadata, typed(shapes)))
    found = parse(config_of([header]))
    assert found.layer_counts == {"rwkv7": 2}
    assert weights_bytes(assign(found, "auto")).total == stored(header)
