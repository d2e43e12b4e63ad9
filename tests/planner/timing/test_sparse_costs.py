"""Sparse attention's launches, counted by hand from the configurations' fields."""

import pytest

from planner.deployment import Deployment
from planner.hf_config import parse
from planner.timing.roofline import Work
from planner.timing.step_costs import step_costs
from presets.models import load_model_config

LAYERS = 61  # of DeepSeek-V3.2
TOPK = 2048
LATENT = 512 + 64


def works(name: str, phase: str, tokens: int, contexts: list[int], **sizes: int) -> list[Work]:
    deployment = Deployment(kv_cache_dtype="bf16", **sizes)  # type: ignore[arg-type]
    model = parse(load_model_config(name))
    return list(step_costs(model, deployment, phase, tokens, contexts).work)  # type: ignore[arg-type]


def total(found: list[Work], kernel: str, figure: str) -> int:
    return sum(w.launches * getattr(w, figure) for w in found if w.kernel == kernel)


def test_a_step_reads_the_chosen_latents_and_every_indexer_key() -> None:
    """Of 30,000 tokens 2,048 latents, of 1,000 all; 64 indexer heads of 128 score every key."""
    found = works("deepseek-v3.2", "decode", 1, [30_000, 1_000])
    chosen = TOPK + 1_000
    assert total(found, "sparse_decode", "kv_bytes") == LAYERS * 2 * LATENT * chosen
    assert total(found, "sparse_decode", "flops") == LAYERS * 2 * 128 * chosen * (LATENT + 512)
    assert total(found, "indexer", "flops") == LAYERS * 2 * 64 * 128 * 31_000
    assert total(found, "indexer", "kv_bytes") == LAYERS * 2 * 128 * 31_000
    assert not any(w.kernel == "mla_decode" for w in found)


def test_a_prompts_queries_each_see_their_own() -> None:
    """The first 2,048 queries see all before them, every later one 2,048: in absorbed form."""
    found = works("deepseek-v3.2", "prefill", 10_000, [10_000])
    chosen = TOPK * (TOPK + 1) // 2 + TOPK * (10_000 - TOPK)
    assert total(found, "sparse_prefill", "flops") == LAYERS * 2 * 128 * chosen * (LATENT + 512)
    assert total(found, "indexer", "flops") == LAYERS * 2 * 64 * 128 * 10_000 * 10_001 // 2
    assert not any(w.kernel == "flash_attention" for w in found)


def test_a_rank_of_few_heads_computes_64_and_the_whole_indexer() -> None:
    one, eight = (
        works("deepseek-v3.2", "decode", 1, [30_000], tensor_parallel_size=tp) for tp in (1, 8)
    )
    assert total(one, "sparse_decode", "flops") == 2 * total(eight, "sparse_decode", "flops")
    assert total(one, "indexer", "flops") == total(eight, "indexer", "flops")


def test_layers_that_reuse_a_choice_make_none() -> None:
    """GLM-5.2: 21 of 78 layers have an indexer of their own, all attend to 2,048 keys."""
    found = works("glm-5.2", "decode", 1, [30_000])
    assert sum(w.launches for w in found if w.kernel == "indexer") == 21
    assert sum(w.launches for w in found if w.kernel == "sparse_decode") == 78


@pytest.mark.parametrize(("position", "in_window"), [(30_000, 128), (100, 100)])
def test_compressed_attention_sees_a_window_and_entries(position: int, in_window: int) -> None:
    """DeepSeek-V4-Flash: 2 layers see the window alone, 21 also 512 chosen of the entries for 4
    tokens each, 20 all entries for 128 tokens; 64 heads over one vector of 512 for keys and values.
    """
    found = works("deepseek-v4-flash", "decode", 1, [position])
    entries = 21 * min(position // 4, 512) + 20 * (position // 128)
    seen = 43 * in_window + entries
    assert total(found, "sparse_decode", "flops") == 2 * 64 * (512 + 512) * seen
    assert total(found, "indexer", "flops") == 21 * 2 * 64 * 128 * (position // 4)
    assert total(found, "indexer", "kv_bytes") == 21 * 2 * 128 * (position // 4)
    assert total(found, "sparse_decode", "activation_bytes") == 43 * 64 * (512 + 512) * 2
