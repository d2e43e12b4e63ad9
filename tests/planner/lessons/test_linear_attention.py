"""Linear attention against torch, and by hand where every score is the same."""

import pytest
import torch

from planner.lessons.linear_attention import (
    parallel,
    phi,
    recurrence,
    state_elements,
    tokens_of_cache,
)  # fmt: skip

Rows = list[tuple[float, ...]]


def rows(n: int, width: int, seed: int) -> Rows:
    made = torch.randn(n, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return [tuple(row) for row in made.tolist()]


def test_phi_is_torchs_elu_and_one() -> None:
    x = [-30.0, -2.5, -1e-9, 0.0, 1e-9, 0.5, 40.0]
    wanted = torch.nn.functional.elu(torch.tensor(x, dtype=torch.float64)) + 1
    assert phi(x) == pytest.approx(wanted.tolist(), abs=1e-15)


def test_both_forms_are_torchs_masked_product() -> None:
    q, k, v = rows(17, 5, 1), rows(17, 5, 2), rows(17, 3, 3)
    wide = [torch.tensor(m, dtype=torch.float64) for m in (q, k, v)]
    scores = (torch.nn.functional.elu(wide[0]) + 1) @ (torch.nn.functional.elu(wide[1]) + 1).T
    scores = scores.tril()
    wanted = (scores @ wide[2] / scores.sum(1, keepdim=True)).tolist()
    steps = recurrence(q, k, v)
    for at, (row, step) in enumerate(zip(parallel(q, k, v), steps, strict=True)):
        assert row == pytest.approx(wanted[at], rel=1e-12)
        assert step.output == pytest.approx(wanted[at], rel=1e-12)


def test_equal_scores_give_the_mean_of_the_values() -> None:
    zeros = [(0.0, 0.0)] * 3
    last = recurrence(zeros, zeros, [(3.0,), (6.0,), (0.0,)])[-1]
    assert last.state == ((9.0,), (9.0,))
    assert last.normaliser == (3.0, 3.0)
    assert last.output == (3.0,)


def test_the_state_does_not_grow() -> None:
    q, v = rows(40, 4, 5), rows(40, 6, 6)
    steps = recurrence(q, q, v)
    for step in (steps[0], steps[-1]):
        size = sum(map(len, step.state)) + len(step.normaliser)
        assert size == state_elements(4, 6) == 28


def test_room_of_a_head_of_128() -> None:
    assert state_elements(128, 128) == 16_512
    assert tokens_of_cache(128, 128) == 64.5
