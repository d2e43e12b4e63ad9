"""Speculation against its closed form, a simulation and its limits."""

import random

import pytest

from planner.timing.speculation import best, speculate, tokens_per_step


@pytest.mark.parametrize("acceptance", [0.3, 0.7, 0.9])
@pytest.mark.parametrize("draft_tokens", [0, 1, 4, 8])
def test_expected_tokens_are_the_published_closed_form(
    acceptance: float, draft_tokens: int
) -> None:
    """(1 - a^(k+1)) / (1 - a), Leviathan et al. 2023, equation 1."""
    closed = (1 - acceptance ** (draft_tokens + 1)) / (1 - acceptance)
    assert tokens_per_step(acceptance, draft_tokens) == pytest.approx(closed)


def test_expected_tokens_are_the_mean_of_simulated_steps() -> None:
    draw = random.Random(1)
    total = 0
    for _ in range(50_000):
        accepted = 0
        while accepted < 5 and draw.random() < 0.8:
            accepted += 1
        total += accepted + 1
    assert tokens_per_step(0.8, 5) == pytest.approx(total / 50_000, rel=0.01)


def test_limits() -> None:
    assert tokens_per_step(0.0, 8) == 1
    assert tokens_per_step(1.0, 8) == 9


def test_a_step_that_costs_nothing_more_gains_its_tokens() -> None:
    found = speculate(lambda tokens: 0.01, lambda k: 0.0, 0.5, 3)
    assert found.speedup == pytest.approx(1.875)
    assert found.tpot_s == pytest.approx(0.01 / 1.875)


def test_drafts_that_cost_a_step_are_not_worth_it() -> None:
    assert best(lambda tokens: 0.01, lambda k: 0.01 * k, 0.5).draft_tokens == 0
    assert best(lambda tokens: 0.01 * tokens, lambda k: 0.0, 0.9).draft_tokens == 0


def test_the_best_number_of_drafts_grows_with_acceptance() -> None:
    chosen = [best(lambda tokens: 0.01, lambda k: 0.0005 * k, a, most=16).draft_tokens
              for a in (0.3, 0.6, 0.9)]  # fmt: skip
    assert chosen == sorted(chosen)
    assert chosen[0] < chosen[-1]
