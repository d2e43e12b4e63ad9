"""Attention variants against figures worked out by hand from head counts and widths."""

import pytest

from planner.formats.dtypes import kv_format
from planner.hf_config import parse
from planner.kv_cache import cache_terms, whole
from planner.model import Model
from planner.parameters import count
from planner.variants import attention_variants
from presets.models import load_model_config


def model(name: str) -> Model:
    return parse(load_model_config(name), name)


def cache(found: Model, tokens: int) -> int:
    return sum(term.bytes(tokens) for term in cache_terms(whole(found), kv_format("bf16")))


def by_name(name: str) -> dict[str, Model]:
    return {variant.name: variant.model for variant in attention_variants(model(name))}


def test_llama_cache_per_token_by_hand() -> None:
    found = by_name("llama-3.1-8b")
    layers, heads, width = 32, 32, 128
    assert cache(found["As published"], 1) == layers * 2 * 8 * width * 2 == 131072
    assert cache(found["MHA"], 1) == layers * 2 * heads * width * 2
    assert cache(found["GQA"], 1) == 131072
    assert cache(found["MQA"], 1) == layers * 2 * width * 2
    assert cache(found["MLA"], 1) == layers * (4 * width + width // 2) * 2
    assert cache(found["Window 4,096"], 100_000) == 4096 * 131072


def test_llama_parameters_by_hand() -> None:
    """Only K and V projections change between head counts: hidden x (heads x 128), twice."""
    found = by_name("llama-3.1-8b")
    published = count(found["As published"]).total
    per_kv_head = 32 * 2 * 4096 * 128
    assert count(found["GQA"]).total == published
    assert count(found["MHA"]).total == published + 24 * per_kv_head
    assert count(found["MQA"]).total == published - 7 * per_kv_head


def test_latent_model_opens_into_heads() -> None:
    found = by_name("deepseek-v3")
    assert cache(found["As published"], 1) == 61 * 576 * 2
    assert cache(found["MHA"], 1) == 61 * 128 * (192 + 128) * 2
    assert cache(found["MLA"], 1) == cache(found["As published"], 1)


def test_windows_of_the_published_form_are_dropped_or_tightened() -> None:
    found = by_name("gemma-3-27b-it")
    assert set(found["MHA"].layer_counts) == {"full"}
    assert set(found["Window 4,096"].layer_counts) == {"sliding"}
    assert cache(found["Window 4,096"], 131072) < cache(found["As published"], 131072)


def test_counts_of_a_variant_are_its_own_even_when_the_model_was_counted_before() -> None:
    published = model("gemma-3-27b-it")
    assert published.layer_counts == {"sliding": 52, "full": 10}
    mla = next(v.model for v in attention_variants(published) if v.name == "MLA")
    assert mla.layer_counts == {"mla": 62}


def test_hybrid_keeps_its_recurrent_layers() -> None:
    found = by_name("qwen3-next-80b-a3b-thinking")
    for variant in found.values():
        assert variant.layer_counts["gated_deltanet"] == 36


def test_a_model_without_softmax_attention_has_one_form() -> None:
    assert list(by_name("mamba-2.8b-hf")) == ["As published"]


@pytest.mark.parametrize("name", ["falcon-7b", "phi-2", "gpt-oss-120b", "minimax-m3"])
def test_every_variant_can_be_counted(name: str) -> None:
    for variant in by_name(name).values():
        assert count(variant).total > 0
        assert cache(variant, 4096) > 0
