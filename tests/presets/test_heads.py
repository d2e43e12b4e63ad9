"""Published EAGLE heads: sizes of their files, and that each drafts for a model that is known."""

import pytest

from cli.source import named, read_draft
from planner.engines.drafter import check_fits, drafter
from planner.hf_config import parse
from planner.model import Model
from presets.heads import head_config, head_ids
from presets.models import load_model_config

TARGETS = {
    "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B": "llama-3.1-8b-instruct",
    "AngelSlim/Qwen3-8B_eagle3": "qwen3-8b",
    "lmsys/EAGLE3-gpt-oss-120b-bf16": "gpt-oss-120b",
    "AQ-MedAI/Kimi-K2-Instruct-eagle3": "kimi-k2-instruct",
    "AQ-MedAI/Kimi-K25-eagle3": "kimi-k2.5",
    "yuhuili/EAGLE-LLaMA3-Instruct-8B": "meta-llama-3-8b-instruct",
    "yuhuili/EAGLE-LLaMA3-Instruct-70B": "meta-llama-3-70b-instruct",
    "yuhuili/EAGLE-llama2-chat-7B": "llama-2-7b-chat-hf",
    "yuhuili/EAGLE-llama2-chat-13B": "llama-2-13b-chat-hf",
}


def head(name: str) -> Model:
    config = head_config(name)
    assert config is not None
    method = "eagle3" if name in head_ids("eagle3") else "eagle"
    return drafter(config, name, method)


def elements(found: Model) -> int:
    """Of 16 bits, of all that is loaded."""
    layers = sum(
        weight.parameters * group.count
        for group in found.groups
        for weight in group.weights(found.hidden_size)
    )
    return layers + sum(weight.parameters for weight in found.head + found.extras)


@pytest.mark.parametrize(
    ("name", "embedding", "gigabytes", "near"),
    [
        ("yuhuili/EAGLE3-LLaMA3.1-Instruct-8B", 0, 0.850, 0.001),
        ("yuhuili/EAGLE-LLaMA3-Instruct-8B", 128256 * 4096, 1.55, 0.006),
        ("yuhuili/EAGLE-LLaMA3-Instruct-70B", 128256 * 8192, 4.08, 0.006),
        # 0.9 B parameters on its page, the target's embedding among them
        ("lmsys/EAGLE3-gpt-oss-120b-bf16", 201088 * 2880, 1.8, 0.1),
    ],
)
def test_files_have_the_published_sizes(
    name: str, embedding: int, gigabytes: float, near: float
) -> None:
    assert 2 * (elements(head(name)) + embedding) / 1e9 == pytest.approx(gigabytes, abs=near)


def test_every_head_is_tested() -> None:
    assert set(head_ids()) == set(TARGETS)
    assert head_config("llama-3.1-8b") is None


@pytest.mark.parametrize(("name", "target"), TARGETS.items())
def test_a_head_fits_its_target(name: str, target: str) -> None:
    model = parse(load_model_config(target))
    method = "eagle3" if name in head_ids("eagle3") else "eagle"
    assert name in head_ids(method, (model.hidden_size, model.vocab_size))
    found = read_draft(name.lower(), method)
    check_fits(found, model, method)
    assert found.num_hidden_layers == 1
    assert named(name.lower()) == name
