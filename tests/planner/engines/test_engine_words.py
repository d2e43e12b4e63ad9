"""Ranges, notes and replicas: what an engine's figures say about themselves."""

from dataclasses import replace
from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.export import engine_rows, summary
from planner.engines.logs import compare, explanation, read_log
from planner.engines.registry import ENGINES, options_of
from planner.hf_config import parse
from planner.units import GIB
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

CARD = load_gpu("h200-sxm-141gb")


def figures(name: str, engine: str, parallel: dict[str, Any] | None = None, **given: Any) -> Any:
    config = load_model_config(name)
    found: EngineFigures = ENGINES[engine].figures(
        parse(config, name), CARD, Deployment(**(parallel or {})), options_of(engine, given),
        Workload(context=8192), config=config,
    )  # fmt: skip
    return found


def test_counts_are_in_range_with_the_bytes_they_follow_from() -> None:
    found = figures("llama-3.1-8b", "vllm", version="0.19.0", max_model_len=16000)
    share = found.kv_cache.low_bytes / found.kv_cache.bytes
    assert share < 0.999
    size = (found.kv_cache.bytes + found.kv_cache.low_bytes) / 2
    tokens = int(found.kv_cache_tokens * (1 + share) / 2)
    text = (
        "INFO vLLM API server version 0.19.0\n"
        f"INFO Available KV cache memory: {size / GIB:.2f} GiB\n"
        f"INFO GPU KV cache size: {tokens:,} tokens\n"
    )
    rows = {row.name: row for row in compare(read_log(text), found)}
    assert rows["kv_cache"].within_range
    assert rows["tokens"].within_range
    assert "No figure is outside its range." in explanation(tuple(rows.values()))
    beyond = text.replace(f"{tokens:,}", f"{int(tokens * 0.5):,}")
    rows = {row.name: row for row in compare(read_log(beyond), found)}
    assert rows["kv_cache"].within_range
    assert not rows["tokens"].within_range
    assert "cache and its tokens do not belong together" in explanation(tuple(rows.values()))


def test_sglang_splits_dense_layers_over_all_ranks() -> None:
    """DeepSeek-V3: three dense layers of 18,432 and 58 shared experts of 2,048, width 7,168."""
    spread = {"data_parallel_size": 8, "enable_expert_parallel": True}
    found = figures("deepseek-v3", "sglang", spread)
    whole = 3 * 7168 * (3 * 18432 + 58 * 2048)
    vllm = figures("deepseek-v3", "vllm", spread, version="0.19.0")
    saved = vllm.bytes_of("weights") - found.bytes_of("weights")
    assert saved == pytest.approx(whole * 7 / 8, rel=0.02)


def test_replicas_that_share_experts_communicate() -> None:
    alone = figures("qwen3-30b-a3b", "vllm", version="0.19.0")
    spread = {"data_parallel_size": 8, "enable_expert_parallel": True}
    many = figures("qwen3-30b-a3b", "vllm", spread, version="0.19.0")
    assert many.bytes_of("non_torch") > alone.bytes_of("non_torch") + GIB
    assert many.bytes_of("before") > alone.bytes_of("before") + GIB
    dense = figures("llama-3.1-8b", "vllm", {"data_parallel_size": 8}, version="0.19.0")
    assert dense.bytes_of("non_torch") == alone.bytes_of("non_torch")
    total = f"{8 * many.requests:,} in all"
    assert f"on each of 8 data-parallel replicas, {total}" in summary(many, 8192)


def test_a_context_of_0_is_the_models_own() -> None:
    found = figures("llama-3.1-8b", "llama.cpp", ctx_size=0)
    assert found.settings["ctx_size"] == 131072
    assert " -c 0" in found.command
    big = figures("llama-3.3-70b", "llama.cpp", {"weights_dtype": "bf16"}, ctx_size=0)
    assert big.settings["ctx_size"] == 131072
    assert any("one in each slot" in note for note in found.notes)


def test_tokens_that_do_not_multiply_out_are_explained() -> None:
    hybrid = figures("gpt-oss-20b", "vllm")
    assert hybrid.num_blocks * hybrid.block_size != hybrid.kv_cache_tokens
    assert any("2 groups of layers share" in note for note in hybrid.notes)
    plain = figures("llama-3.1-8b", "vllm", version="0.19.0")
    assert not any("are not the tokens" in note for note in plain.notes)


def test_transformers_says_what_its_cache_and_tokens_are() -> None:
    found = figures("llama-3.1-8b", "transformers")
    assert found.kv_cache.bytes == 8192 * 131072
    assert any("1 × 8,192 tokens, 1.00 GiB" in note for note in found.notes)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.33.0", "14 bytes each: from 0.33 profiling samples"),
        ("0.29.0", "as large as the embedding while a first start compiles"),
        ("0.19.0", "14 bytes each: from 0.17"),
        ("0.15.1", "38 bytes each: it sorts"),
    ],
)
def test_the_activations_centre_is_explained(version: str, words: str) -> None:
    found = figures("gpt-oss-20b", "vllm", version=version)
    assert words in found.components["activation"].source


def test_rows_are_in_words() -> None:
    labels = [row[0] for row in engine_rows(figures("llama-3.1-8b", "vllm", version="0.19.0"))]
    assert labels[-2:] == ["In use before the engine starts", "CUDA graphs, not in the budget"]
    assert "Communication and libraries" in labels
    renamed = replace(figures("llama-3.1-8b", "sglang"), components={})
    assert all("_" not in row[0] for row in engine_rows(renamed))
