"""Which runner starts a model, against the conditions of vLLM's config/vllm by version."""

import pytest

from planner.engines.vllm.runner import second_runner
from planner.engines.vllm.versions import rules_of
from planner.hf_config import parse
from presets.models import load_model_config


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("qwen3-8b", "0.20.2", False),
        ("qwen3-8b", "0.22.1", True),
        ("llama-3.1-8b", "0.22.1", False),
        ("llama-3.1-8b", "0.23.0", True),
        ("qwen2.5-7b", "0.24.0", False),
        ("deepseek-v2-lite", "0.23.0", False),
        ("deepseek-v2-lite", "0.24.0", True),
        ("qwen2.5-7b", "0.25.1", True),
        ("qwen3-30b-a3b", "0.28.0", False),
        ("deepseek-v3", "0.28.0", False),
        ("deepseek-v4-flash", "0.27.1", False),
        ("deepseek-v4-flash", "0.28.0", True),
        ("qwen3.5-27b", "0.28.0", False),
        ("mamba-2.8b-hf", "0.28.0", False),
        ("qwen3.5-27b", "0.29.0", True),
        ("qwen3-30b-a3b", "0.29.0", True),
    ],
)
def test_the_second_runner_takes_over_by_version(name: str, version: str, expected: bool) -> None:
    assert second_runner(parse(load_model_config(name)), rules_of(version)) is expected


def test_what_keeps_a_model_on_the_first_runner() -> None:
    qwen = parse(load_model_config("qwen3-8b"))
    old, later, new = (rules_of(version) for version in ("0.23.0", "0.24.0", "0.33.0"))
    assert not second_runner(qwen, old, quantised=True)
    assert second_runner(qwen, later, quantised=True)
    assert not second_runner(qwen, later, pools=True)
    assert second_runner(qwen, new, pools=True)
    assert not second_runner(qwen, later, wrapper="internvl_chat")
    assert not second_runner(qwen, rules_of("0.31.0"), "ngram")
    assert second_runner(qwen, new, "ngram")
    assert not second_runner(qwen, new, "suffix")
