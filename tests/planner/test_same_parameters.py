"""Widths that keep the number of parameters, by hand and as Shazeer 2019 chose them."""

import pytest

from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import LayerGroup, Model
from planner.parameters import count
from planner.same_parameters import widths, with_parameters
from planner.variants import attention_variants
from presets.models import load_model_config


def decoder(heads: int, kv_heads: int, width: int = 8192) -> Model:
    """Shazeer's language model: 6 layers of 1,024, heads of 128, a plain feed-forward."""
    mixer = Attention(num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=128)
    mlp = Mlp(intermediate_size=width, gated=False)
    group = LayerGroup(layers=tuple(range(6)), mixers=(mixer,), mlp=mlp)
    return Model(
        source="as described", model_type="described", hidden_size=1024, vocab_size=1,
        tie_word_embeddings=True, groups=(group,), embedding=(),
    )  # fmt: skip


@pytest.mark.parametrize(("heads", "kv_heads", "published"), [(8, 1, 9088), (1, 1, 9984)])
def test_the_papers_own_widths(heads: int, kv_heads: int, published: int) -> None:
    total = count(decoder(8, 8)).total
    found = with_parameters(decoder(heads, kv_heads), total)
    assert widths(found) == (published,)
    assert count(found).total == total


def variants(name: str) -> dict[str, Model]:
    model = parse(load_model_config(name), name)
    return {v.name: v.model for v in attention_variants(model, same_parameters=True)}


def test_llama_70b_by_hand() -> None:
    """MQA saves 80 x 2 x 8192 x 7 x 128; a step of 128 in width costs 80 x 3 x 8192 x 128."""
    found = variants("llama-3.1-70b")
    saved, step = 80 * 2 * 8192 * 7 * 128, 80 * 3 * 8192 * 128
    assert round(saved / step) == 5
    assert widths(found["MQA"]) == (28672 + 5 * 128,)
    assert widths(found["As published"]) == widths(found["GQA"]) == (28672,)
    total = count(found["As published"]).total
    for model in found.values():
        assert abs(count(model).total - total) <= step / 2


@pytest.mark.parametrize("name", ["deepseek-v3", "gpt-oss-20b", "qwen3-30b-a3b", "gpt2-medium"])
def test_other_feed_forwards_keep_the_number_too(name: str) -> None:
    found = variants(name)
    total = count(found["As published"]).total
    for model in found.values():
        assert count(model).total == pytest.approx(total, rel=0.01)


def test_without_a_feed_forward_nothing_can_be_made_up() -> None:
    model = decoder(8, 1)
    bare = model.model_copy(
        update={"groups": tuple(g.model_copy(update={"mlp": None}) for g in model.groups)}
    )
    with pytest.raises(PlanRefused, match="no feed-forward layer that"):
        with_parameters(bare, 10**9)
    with pytest.raises(PlanRefused, match="would be left"):
        with_parameters(decoder(8, 1, 256), 1)
