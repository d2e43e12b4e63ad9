"""Online softmax against a softmax that sees everything."""

from math import exp, fsum, isclose

from hypothesis import given
from hypothesis import strategies as st

from planner.lessons.online_softmax import one_shot, online

SCORES = st.lists(st.floats(-80, 80), min_size=1, max_size=30)


def test_the_example_that_articles_give() -> None:
    first, last = online([2, 5, 3], [0, 0, 0], 2)
    assert isclose(first.denominator, exp(-3) + 1)
    assert isclose(last.denominator, exp(-3) + 1 + exp(-2))
    assert round(last.denominator, 2) == 1.19


def test_a_larger_maximum_scales_what_came_before() -> None:
    last = online([1, 3], [10, 20], 1)[-1]
    assert last.maximum == 3
    assert isclose(last.rescale, exp(-2))
    assert isclose(last.denominator, exp(-2) + 1)
    assert isclose(last.result, (10 * exp(-2) + 20) / (exp(-2) + 1))


def test_a_smaller_maximum_scales_nothing() -> None:
    assert [block.rescale for block in online([5, 1, 2], [0, 0, 0], 1)] == [0.0, 1.0, 1.0]


@given(SCORES, st.integers(1, 31))
def test_exact_for_any_scores_and_blocks(scores: list[float], block: int) -> None:
    values = [float(i % 7) - 3 for i in range(len(scores))]
    top = max(scores)
    weights = [exp(s - top) for s in scores]
    wanted = fsum(w * v for w, v in zip(weights, values, strict=True)) / fsum(weights)
    for found in (online(scores, values, block)[-1], one_shot(scores, values)):
        assert isclose(found.denominator, fsum(weights), rel_tol=1e-12)
        assert isclose(found.result, wanted, rel_tol=1e-9, abs_tol=1e-12)
