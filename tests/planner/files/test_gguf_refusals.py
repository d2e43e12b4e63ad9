"""GGUF files that are not understood, or not whole: one sentence that names the key or tensor."""

import random
from typing import Any

import pytest

from planner.errors import ConfigRefused, SizewellError
from planner.files.gguf_config import config_of
from planner.files.gguf_header import read_header
from planner.formats.quantization import assign
from planner.hf_config import parse
from tests.planner.files.small_gguf import Shape, model, small
from tests.planner.files.written import gguf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"general.architecture": "rwkv9"}, "general.architecture: 'rwkv9'"),
        ({"general.architecture": None}, "general.architecture is missing"),
        (
            {"general.type": "adapter"},
            "general.type: this is 'adapter' and no model: give",
        ),
        ({"general.architecture": 5}, "general.architecture: '5'"),
        ({"llama.ssm.state_size": 16}, "llama.ssm.state_size is not understood"),
        ({"llama.nextn_predict_layers": 2}, "llama.nextn_predict_layers leaves no layer"),
        ({"llama.attention.sliding_window": 128}, "llama.attention.sliding_window is not"),
        ({"llama.attention.causal": False}, "llama.attention.causal is false"),
        ({"llama.attention.value_length": 32}, "llama.attention.value_length is not the length"),
        ({"llama.attention.head_count_kv": [1, 2]}, "is not one number for all layers"),
        ({"llama.block_count": "2"}, "llama.block_count 2 is not one number"),
        ({"llama.embedding_length": None}, "llama.embedding_length is missing"),
        ({"llama.attention.head_count": 0}, "llama.attention.head_count is missing"),
        ({"llama.attention.key_length": 0}, "llama.attention.key_length is 0"),
        ({"llama.block_count": 2**31}, "llama.block_count is more than the file has tensors"),
        ({"llama.block_count": 2.5}, "llama.block_count 2.5 is not a whole number"),
        ({"split.count": "x"}, "x parts, and 1 of them are here"),
        ({"llama.rope.scaling.type": "dynamic"}, "llama.rope.scaling.type 'dynamic'"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.factor is None, and yarn needs"),
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 0.0},
            "llama.rope.scaling.factor is 0.0",
        ),
        (
            {
                "general.architecture": "gpt-oss",
                "gpt-oss.block_count": 2,
                "gpt-oss.embedding_length": 256,
                "gpt-oss.attention.head_count": 4,
            },
            "gpt-oss.attention.sliding_window is missing",
        ),
        ({"split.count": 3}, "3 parts, and 1 of them are here"),
        ({"split.count": 1, "split.tensors.count": 99}, "split.tensors.count"),
    ],
)
def test_what_is_not_understood_is_refused_by_key(change: dict[str, Any], message: str) -> None:
    metadata, tensors = small()
    metadata = {k: v for k, v in {**metadata, **change}.items() if v is not None}
    with pytest.raises(ConfigRefused, match=message.replace("(", r"\(")):
        config_of([read_header(gguf(metadata, tensors))])


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("blk.0.attn_k.weight", None, "blk.0.attn_k.weight: the file has no such tensor"),
        ("blk.1.ffn_norm.weight", None, "blk.1.ffn_norm.weight: the file has no such tensor"),
        ("blk.0.attn_q.bias", ("f32", (256,)), "blk.0.attn_k.bias: the file has no such tensor"),
        ("blk.2.nextn.enorm.weight", ("f32", (256,)), "blk.2.nextn.enorm.weight: this tensor is"),
        ("blk.0.ssm_a", ("f32", (256,)), "blk.0.ssm_a: this tensor is none that Sizewell knows"),
        (
            "blk.1.ffn_up.weight",
            ("q8_0", (480, 256)),
            "it has 122,880 elements, where the metadata",
        ),
    ],
)
def test_tensors_that_the_metadata_do_not_make_are_refused_by_name(
    name: str, tensor: tuple[str, Shape] | None, message: str
) -> None:
    metadata, tensors = small()
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    with pytest.raises(ConfigRefused, match=message):
        assign(model(gguf(metadata, tensors)), "auto")


def test_a_listed_tensor_must_be_a_type_and_a_shape() -> None:
    metadata, tensors = small()
    config = config_of([read_header(gguf(metadata, tensors))])
    for wrong in ("q9_9 4x4", "q8_0", "q8_0 4xx4", 5):
        config["quantization_config"]["tensors"]["output.weight"] = wrong
        with pytest.raises(ConfigRefused, match=r"output.weight has '.*' belong"):
            assign(parse(config), "auto")
    config["quantization_config"]["tensors"] = None
    with pytest.raises(ConfigRefused, match=r"quantization_config.tensors is no list"):
        assign(parse(config), "auto")


def test_no_broken_byte_does_more_than_refuse() -> None:
    """One byte of a small file's header at a time, then all that is read from it."""
    data = gguf(*small())
    chance = random.Random(7)
    refused = 0
    for _ in range(3000):
        broken = bytearray(data)
        broken[chance.randrange(len(data))] = chance.randrange(256)
        try:
            assign(model(bytes(broken)), "auto")
        except SizewellError:
            refused += 1
    assert refused > 1000
