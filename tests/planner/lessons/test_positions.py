"""The lesson on positions: ALiBi's slopes, and a model's own scaling or one chosen."""

import pytest

from planner.errors import PlanRefused
from planner.lessons.alibi import reach_of, slopes
from planner.lessons.stretched import rows_to_show, stretched
from tests.planner.models import preset


@pytest.mark.parametrize(
    ("heads", "first", "last", "total"),
    [
        (8, (0.5, 0.25, 0.125), 0.00390625, 0.99609375),
        (12, (0.5, 0.25, 0.125), 0.08838834, 2.3219192),
        (71, (0.917004, 0.8408964, 0.7711054), 0.5693943, 16.2524605),
        (112, (0.917004, 0.8408964, 0.7711054), 0.01631677, 22.3632908),
    ],
)
def test_slopes_are_those_of_published_models(
    heads: int, first: tuple[float, ...], last: float, total: float
) -> None:
    """build_alibi_tensor of transformers 5.23: BLOOM has 112 heads, Falcon 71."""
    found = slopes(heads)
    assert len(found) == heads
    assert found[:3] == pytest.approx(first, rel=1e-6)
    assert found[-1] == pytest.approx(last, rel=1e-6)
    assert sum(found) == pytest.approx(total, rel=1e-6)
    assert reach_of(1 / 256) == 2560


def test_llama_3_1_brings_its_own_scaling() -> None:
    """theta 5e5, 64 pairs: 8,192 tokens are one turn at i = 35.0 and four at i = 28.2; the 29 from
    pair 35 on do not come round, and are slowed by 8."""
    found = stretched(preset("llama-3.1-8b"), 4, "yarn")
    assert found.extension is None
    assert (found.method, found.trained_tokens, found.reached_tokens) == ("llama3", 8192, 131072)
    assert found.unseen == 29
    assert sum(1 for times in found.slowed if times == pytest.approx(8)) == 29
    assert sum(1 for times in found.slowed if times == 1) == 29


def test_a_model_without_scaling_is_stretched_as_asked() -> None:
    found = stretched(preset("qwen2.5-3b-instruct"), 8, "linear")
    assert found.extension is not None
    assert found.reached_tokens == 8 * 32768
    assert found.slowed == pytest.approx([8.0] * 64)


@pytest.mark.parametrize("name", ["opt-6.7b", "mamba-2.8b-hf", "bloom-7b1", "falcon-7b"])
def test_models_without_anything_to_stretch_say_why(name: str) -> None:
    with pytest.raises(PlanRefused):
        stretched(preset(name), 4, "yarn")


@pytest.mark.parametrize("name", ["llama-3.1-8b", "phi-4-mini-instruct", "phi-2", "gemma-3-4b-it"])
def test_the_table_shows_where_slowing_begins_and_ends(name: str) -> None:
    found = stretched(preset(name), 4, "yarn")
    rows = rows_to_show(found)
    assert rows[0] == 0
    assert rows[-1] == len(found.slowed) - 1
    assert len(rows) <= 20
