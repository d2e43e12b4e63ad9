"""Online softmax against a softmax that sees everything."""

from collections.abc import Iterator, Sequence
from math import exp, fsum, inf, isclose, isnan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planner.lessons.online_softmax import FORMS, Form, one_shot, online, unsafe

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


class Memory(Sequence[float]):
    """Scores that count how often they are read."""

    def __init__(self, scores: list[float]) -> None:
        self.scores, self.loads = scores, 0

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, at: int) -> float:  # type: ignore[override]
        self.loads += 1
        return self.scores[at]

    def __iter__(self) -> Iterator[float]:
        for at in range(len(self)):
            yield self[at]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_loads_and_stores_are_those_of_the_loops(form: Form) -> None:
    scores = [((7 * i) % 11) / 2 for i in range(40)]
    memory = Memory(scores)
    found = form.compute(memory)
    assert memory.loads == form.loads * 40
    assert len(found) == form.stores * 40
    wanted = torch.softmax(torch.tensor(scores, dtype=torch.float64), 0).tolist()
    assert found == pytest.approx(wanted, rel=1e-12)


def test_accesses_are_those_of_the_paper() -> None:
    """Milakov and Gimelshein count 3 for each element, 4 made safe, and 3 again online."""
    assert [form.accesses for form in FORMS] == [3, 4, 3]


def test_only_the_naive_form_overflows() -> None:
    naive, safe, one_pass = FORMS
    with pytest.raises(OverflowError):
        naive.compute([1000.0, 0.0])
    assert safe.compute([1000.0, 0.0]) == one_pass.compute([1000.0, 0.0]) == [1.0, 0.0]


def test_fp16_ends_between_exp_11_and_exp_12() -> None:
    assert unsafe([11.0], [3.0]).largest_term == torch.tensor(exp(11)).half().item() == 59_872
    assert unsafe([11.0], [1.0]).result == 1.0
    over = unsafe([12.0, 1.0], [1.0, 2.0])
    assert over.largest_term == over.denominator == inf
    assert isnan(over.result)


def test_fp16_loses_small_scores_altogether() -> None:
    gone = unsafe([-20.0, -21.0], [1.0, 2.0])
    assert gone.denominator == 0
    assert isnan(gone.result)


def test_a_sum_may_overflow_where_no_term_does() -> None:
    found = unsafe([11.0, 11.0], [0.0, 0.0])
    assert found.largest_term < inf
    assert found.denominator == inf
