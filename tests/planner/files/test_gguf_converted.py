"""Headers of llama.cpp's converter against the configurations of the same models."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.files.comparison import planned_parts
from planner.files.gguf_config import config_of, gguf_with_files
from planner.files.gguf_header import GgufHeader
from planner.formats.gguf_names import POSITIONS
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.parameters import count
from planner.weights import weights_bytes
from tests.planner.files.converted import cases, converted

SIZES = json.loads(
    Path(__file__).parents[1].joinpath("data", "gguf_file_sizes.json").read_text(encoding="utf-8")
)
SAME = (
    "groups", "embedding", "head", "extras", "mtp", "mtp_extras", "hidden_size",
    "tie_word_embeddings", "model_type", "max_position_embeddings",
)  # fmt: skip
LENGTH = ("max_position_embeddings",)
OTHERWISE: dict[str, tuple[str, ...]] = {
    # The converter writes a length of its own, or one that the configuration lacks: 2**20 for
    # layers with a state, which is what llama.cpp goes by then.
    **dict.fromkeys(
        (
            "bloom-560m", "c4ai-command-r-plus", "mamba-2.8b-hf", "mamba-codestral-7b-v0.1",
            "falcon_mamba", "falcon-40b", "glm-4-9b-chat-hf",
            "granitemoehybrid", "granitemoehybrid without experts", "hunyuan_v1_dense",
            "hunyuan_v1_moe", "nemotron-h-8b-base-8k", "nvidia-nemotron-3-nano-30b-a3b-bf16",
            "nvidia-nemotron-3-super-120b-a12b",
        ),
        LENGTH,
    ),
    # llama.cpp pads the embeddings of single layers to the whole vocabulary.
    "gemma3n_text": ("extras",),
    # llama.cpp has no windows for this architecture, and its files name none.
    "starcoder2-15b": ("groups",),
    # One architecture for two versions of equal decoders.
    "qwen2.5-vl-7b-instruct": ("model_type",),
    # Transformers makes no prediction layer of it, so that the file here has none.
    "nvidia-nemotron-3-super-120b-a12b": (*LENGTH, "mtp", "mtp_extras"),
    "deepseek-v3": ("mtp", "mtp_extras"),  # which the converter leaves out
    # Published weights have a prediction layer that no field names.
    "qwen3-next-80b-a3b-thinking": ("mtp", "mtp_extras"),
}  # fmt: skip
STRETCHED = ("hunyuan_v1_dense", "hunyuan_v1_moe")
"""Whose scaling the converter puts into theta."""


@pytest.mark.parametrize("name", cases())
def test_a_gguf_file_is_the_model_of_its_config(name: str) -> None:
    case = converted(name)
    theirs, ours = parse(case.config), parse(config_of([case.header]))
    differs = [field for field in SAME if getattr(ours, field) != getattr(theirs, field)]
    assert set(differs) == set(OTHERWISE.get(name, ()))
    if "extras" not in differs:
        assert count(ours).total == count(theirs).total
    for field in () if name in STRETCHED else ("rope_theta", "factor"):
        told = (ours.rope or {}).get(field)
        assert told in (None, (theirs.rope or {}).get(field)), field


@pytest.mark.parametrize("name", cases())
def test_weights_are_the_tensors_of_the_file(name: str) -> None:
    header = converted(name).header
    found = parse(gguf_with_files("x.gguf", [header]))
    assert found.files is not None
    assert found.files.bytes == sum(tensor.bytes for tensor in header.tensors)
    positions = sum(tensor.bytes for tensor in header.tensors if tensor.name in POSITIONS)
    assert (
        found.files.bytes == sum(planned_parts(found, assign(found, "auto")).values()) + positions
    )


@pytest.mark.parametrize("file", SIZES["files"], ids=lambda file: str(file["repository"]))
def test_published_files_are_as_large_but_for_their_vocabulary(file: dict[str, Any]) -> None:
    """A header of tokens and merges takes 0.7 MB for Phi-3 and 7.8 MB for Llama 3.1."""
    header = converted(file["model"]).header
    tensors = sum(tensor.bytes for tensor in header.tensors)
    assert 500_000 < file["bytes"]["q8_0"] - tensors < 10_000_000


def changed(name: str, **changes: Any) -> GgufHeader:
    """The header with other values under the architecture's keys, whose __ are dots; None is no
    such key."""
    header = converted(name).header
    prefix = header.metadata["general.architecture"]
    metadata = {
        **header.metadata,
        **{f"{prefix}.{key.replace('__', '.')}": value for key, value in changes.items()},
    }
    kept = {key: value for key, value in metadata.items() if value is not None}
    return GgufHeader(kept, header.tensors, header.size)


def without(name: str, *parts: str) -> GgufHeader:
    """The header without the tensors in whose names one of these stands."""
    header = converted(name).header
    kept = tuple(t for t in header.tensors if not any(part in t.name for part in parts))
    return GgufHeader(header.metadata, kept, header.size)


def test_published_weights_of_experts_in_blocks() -> None:
    """Qwen3-30B-A3B in Q8_0: 48 x 128 experts of 3 x 768 x 2048, 34 bytes for 32."""
    found = parse(config_of([converted("qwen3-30b-a3b").header]))
    routers = 48 * 128 * 2048 * 4  # in fp32
    experts = 48 * 128 * 3 * 768 * 2048 // 32 * 34
    assert weights_bytes(assign(found, "auto")).experts == experts + routers


def test_an_older_file_of_gemma_2_names_no_window() -> None:
    """As converted in June 2024: llama.cpp takes 4096."""
    header = changed("gemma-2-9b", attention__sliding_window=None)
    assert parse(config_of([header])).groups == parse(converted("gemma-2-9b").config).groups


def test_olmo3_is_an_olmo2_with_windows() -> None:
    header = changed("olmo-2-1124-7b", attention__sliding_window=4096)
    found = parse(config_of([header]))
    assert (found.model_type, found.layer_counts) == ("olmo3", {"sliding": 24, "full": 8})


def test_prediction_layers_that_the_file_lacks_are_not_planned() -> None:
    layers = [f"blk.{converted('qwen3.5-27b').config['text_config']['num_hidden_layers']}."]
    found = parse(config_of([without("qwen3.5-27b", *layers)]))
    assert found.mtp == ()
    assert assign(found, "auto").mtp == ()
    part = parse(config_of([without("qwen3.5-27b", "nextn.hnorm")]))
    with pytest.raises(ConfigRefused, match=r"blk.64.nextn.hnorm.weight: the file has no such"):
        assign(part, "auto")


def test_a_checkpoint_keeps_keys_of_layers_that_share_a_cache() -> None:
    """As Gemma 3n's own does, of which transformers makes no parameters."""
    header = converted("gemma3n_text").header
    twin = {t.name.split(".")[2]: t for t in header.tensors if t.name.startswith("blk.0.attn_")}
    names = ("attn_k", "attn_v", "attn_k_norm")
    more = tuple(
        replace(twin[name], name=f"blk.{index}.{name}.weight")
        for index in range(20, 35)
        for name in names
    )
    kept = {tensor.name: tensor for tensor in (*header.tensors, *more)}
    whole = GgufHeader(header.metadata, tuple(kept.values()), 0)
    found = parse(config_of([whole]))
    assert found.groups == parse(converted("gemma3n_text").config).groups
    planned = sum(planned_parts(found, assign(found, "auto")).values())
    assert planned == sum(tensor.bytes for tensor in whole.tensors)


def test_files_from_before_latents_are_refused() -> None:
    header = changed("deepseek-v2-lite", attention__key_length_mla=None)
    with pytest.raises(ConfigRefused, match="key_length_mla is missing: the file is from before"):
        config_of([header])
    header = changed("deepseek-v2-lite", rope__dimension_count=192)
    with pytest.raises(ConfigRefused, match=r"rope.dimension_count is 192, which leaves nothing"):
        config_of([header])


def test_layers_of_a_hybrid_are_what_their_tensors_say() -> None:
    with pytest.raises(ConfigRefused, match=r"block_count is 52, and layer 3 has none of ssm_in"):
        config_of([without("nemotron-h-8b-base-8k", "blk.3.ffn_up")])
    with pytest.raises(ConfigRefused, match=r"head_count_kv is no even period, which is all"):
        config_of([without("jamba-v0.1", "blk.12.attn_q")])
    with pytest.raises(ConfigRefused, match=r"inner_size is 8193, which ssm.time_step_rank 128"):
        config_of([changed("mamba-codestral-7b-v0.1", ssm__inner_size=8193)])
