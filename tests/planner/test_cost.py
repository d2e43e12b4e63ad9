"""Dollars and joules by hand."""

import pytest

from planner.cost import cost, tokens_per_joule
from planner.errors import PlanRefused


def test_a_bill_by_hand() -> None:
    """Four GPUs at $2.50, two requests a second of 8,000 + 1,000 tokens, 40 % of time on prompts.

    $10 an hour is 1/360 of a dollar a second, for 16,000 + 2,000 tokens.
    """
    found = cost(
        usd_per_hour=10, gpus=4, requests_per_s=2, prompt_tokens=8000, output_tokens=1000,
        prefill_share=0.4, watts_per_gpu=700,
    )  # fmt: skip
    assert found.usd_per_hour == 10
    assert found.usd_per_million_tokens == pytest.approx(1e6 / 360 / 18_000)
    assert found.usd_per_million_input_tokens == pytest.approx(0.4 * 1e6 / 360 / 16_000)
    assert found.usd_per_million_output_tokens == pytest.approx(0.6 * 1e6 / 360 / 2_000)
    assert found.output_tokens_per_joule == pytest.approx(2000 / 2800)


def test_input_and_output_add_up_to_the_bill() -> None:
    found = cost(
        usd_per_hour=24.8, gpus=8, requests_per_s=0.7, prompt_tokens=900, output_tokens=333,
        prefill_share=0.27,
    )  # fmt: skip
    hour = 3600 * 0.7 / 1e6
    parts = hour * (
        900 * found.usd_per_million_input_tokens + 333 * found.usd_per_million_output_tokens
    )
    assert parts == pytest.approx(found.usd_per_hour)
    assert found.output_tokens_per_joule is None


def test_joules_need_no_price() -> None:
    """2,000 tokens a second on four GPUs of 700 W: 2,000 / 2,800 for each joule."""
    assert tokens_per_joule(2000, 4, 700) == pytest.approx(5 / 7)
    with pytest.raises(PlanRefused, match="watts must be above 0, not -3"):
        tokens_per_joule(2000, 4, -3)
