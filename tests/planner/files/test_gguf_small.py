"""Small GGUF models by hand, of families whose code stands beside their weights."""

from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.files.gguf_config import config_of
from planner.files.gguf_header import read_header
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


BIASED_NORMS: dict[str, Shape] = {"attn_norm.bias": (256,), "ffn_norm.bias": (256,)}
MULTI_HEAD = {**SMALL, "num_key_value_heads": 4}


@pytest.mark.parametrize(
    ("architecture", "model_type", "config", "more"),
    [
        ("baichuan", "baichuan", MULTI_HEAD, {}),
        ("exaone", "exaone", SMALL, {}),
        ("internlm2", "internlm2", SMALL, {}),
        ("minicpm", "minicpm", SMALL, {}),
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
    assert weights_bytes(assign(found, "auto")).total == sum(t.bytes for t in header.tensors)


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
    assert weights_bytes(assign(found, "auto")).total == sum(t.bytes for t in header.tensors)


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
    assert weights_bytes(assign(found, "auto")).total == sum(t.bytes for t in header.tensors)
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
    assert weights_bytes(assign(found, "auto")).total == sum(t.bytes for t in header.tensors)
