"""Where parameters are, worked out by hand from published widths."""

import pytest

from planner.hf_config import parse
from planner.parameters import count, in_words, parts
from presets.models import all_names, load_model_config


@pytest.mark.parametrize(
    ("name", "feed_forward", "total", "published"),
    [
        ("llama-2-7b-hf", 32 * 3 * 4096 * 11008, 6_738_415_616, 0.642),
        ("llama-3.1-8b", 32 * 3 * 4096 * 14336, 8_030_261_248, 0.702),
        ("llama-3.1-70b", 80 * 3 * 8192 * 28672, 70_553_706_496, 0.799),
        ("gpt2-medium", 24 * (2 * 1024 * 4096 + 4096 + 1024), 354_823_168, 0.568),
    ],
)
def test_feed_forward_by_hand(name: str, feed_forward: int, total: int, published: float) -> None:
    model = parse(load_model_config(name), name)
    assert parts(model).feed_forward == feed_forward
    assert count(model).total == total
    assert parts(model).shares()["feed-forward"] == pytest.approx(published, abs=0.0005)


def test_attention_of_llama_by_hand() -> None:
    found = parts(parse(load_model_config("llama-3.1-8b"), "llama-3.1-8b"))
    assert found.attention == 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)
    assert found.outside == 2 * 128256 * 4096 + 4096
    assert found.other == 32 * 2 * 4096
    assert found.recurrent == 0


def test_two_thirds_of_a_layer_is_what_multi_head_attention_leaves() -> None:
    """4 d^2 of attention beside 8 d^2 of feed-forward, biases and norms apart."""
    found = parts(parse(load_model_config("gpt2-medium"), "gpt2-medium"))
    layer = found.attention + found.feed_forward
    assert found.feed_forward / layer == pytest.approx(2 / 3, abs=0.001)


def test_parts_are_the_total_for_every_model() -> None:
    for name in sorted({found.id for found in all_names()}):
        model = parse(load_model_config(name), name)
        found = parts(model)
        assert sum(found.shares().values()) == pytest.approx(1)
        together = found.attention + found.recurrent + found.feed_forward
        assert together + found.outside + found.other == count(model).total


def test_recurrent_layers_are_no_attention() -> None:
    found = parts(parse(load_model_config("mamba-2.8b-hf"), "mamba-2.8b-hf"))
    assert found.attention == 0
    assert found.recurrent > 0.9 * count(parse(load_model_config("mamba-2.8b-hf"), "m")).total


def test_words_start_with_the_largest() -> None:
    assert in_words({"a": 0.25, "b": 0.7499, "c": 0.0001}) == "b 75.0 %, a 25.0 %"
