"""Batches in flight against what vLLM's max_concurrent_batches gives by version."""

import pytest

from planner.engines.vllm.in_flight import in_flight_tokens, overlap_of, retained_tokens
from planner.engines.vllm.versions import rules_of
from planner.hf_config import parse
from presets.models import load_model_config


@pytest.mark.parametrize(
    ("model", "version", "method", "pools", "batches"),
    [
        ("gemma-3-27b-it", "0.25.1", None, False, (1, 1)),
        ("gemma-3-27b-it", "0.26.0", None, False, (2, 5)),
        ("gemma-3-27b-it", "0.33.0", None, False, (2, 5)),
        ("gemma-3-27b-it", "0.33.0", None, True, (1, 4)),
        ("gemma-3-27b-it", "0.33.0", "suffix", False, (1, 4)),
        ("gemma-3-27b-it", "0.31.0", "ngram", False, (1, 4)),
        ("gemma-3-27b-it", "0.33.0", "ngram", False, (2, 5)),
        ("gemma-3-27b-it", "0.28.0", "draft_model", False, (1, 4)),
        ("gemma-3-27b-it", "0.30.0", "draft_model", False, (2, 4)),
        ("gpt-oss-20b", "0.28.0", None, False, (2, 4)),
        ("gpt-oss-20b", "0.29.0", None, False, (2, 5)),
        ("gpt-oss-20b", "0.28.0", "eagle3", False, (2, 4)),
    ],
)
def test_batches_on_one_stage_and_on_four(
    model: str, version: str, method: str | None, pools: bool, batches: tuple[int, int]
) -> None:
    rules = rules_of(version)
    overlap = overlap_of(parse(load_model_config(model)), rules, method, pools=pools)
    found = tuple(in_flight_tokens(rules, 2048, stages, overlap) // 2048 for stages in (1, 4))
    assert found == batches


@pytest.mark.parametrize(
    ("version", "method", "layers", "drafted", "kept"),
    [
        ("0.33.0", "mtp", 3, 3, 2),
        ("0.33.0", "mtp", 3, 1, 0),
        ("0.33.0", "mtp", 1, 3, 0),
        ("0.33.0", "ngram", 3, 3, 0),
        ("0.27.1", "mtp", 3, 3, 0),
    ],
)
def test_windows_keep_what_several_drafting_layers_compute_again(
    version: str, method: str, layers: int, drafted: int, kept: int
) -> None:
    """use_multi_module_mtp, and extra_retained_tokens of SlidingWindowSpec."""
    config = {**load_model_config("deepseek-v3"), "num_nextn_predict_layers": layers}
    assert retained_tokens(parse(config), rules_of(version), method, drafted) == kept
