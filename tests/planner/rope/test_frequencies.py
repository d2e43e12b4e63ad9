"""Frequencies against transformers' own, in a file that make_rope_frequencies.py wrote."""

import json
from math import inf, log, pi
from pathlib import Path
from typing import Any

import pytest

from planner.errors import PlanRefused
from planner.rope.frequencies import frequencies, kind_of, unscaled, yarn_attention

CASES = json.loads((Path(__file__).parents[1] / "data" / "rope_frequencies.json").read_text())
FP32 = 1e-6
"""transformers computes in fp32."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_scaling_is_transformers_own(case: dict[str, Any]) -> None:
    found = frequencies(case["rope"], case["width"], longest=case["longest"], length=case["length"])
    assert found.radians == pytest.approx(case["inverse"], rel=FP32)
    assert found.attention_factor == pytest.approx(case["attention_factor"], rel=1e-12)


def test_every_kind_is_among_the_cases() -> None:
    kinds = {kind_of(case["rope"]) for case in CASES}
    assert kinds == {"yarn", "linear", "dynamic", "llama3", "longrope", "proportional"}


def test_a_wavelength_is_a_whole_turn() -> None:
    """The first pair turns a radian a token whatever theta is: 2 pi tokens."""
    found = unscaled({"rope_theta": 5e5}, 128)
    assert found.wavelengths[0] == pytest.approx(2 * pi)
    assert found.wavelengths[-1] == pytest.approx(2 * pi * 5e5 ** (126 / 128))
    quarter = unscaled(
        {"rope_type": "proportional", "rope_theta": 1e6, "partial_rotary_factor": 0.25}, 512
    )
    assert quarter.wavelengths.count(inf) == 192


def test_the_attention_factor_of_the_paper() -> None:
    assert yarn_attention({}, 16.0) == pytest.approx(0.1 * log(16) + 1)
    assert yarn_attention({}, 1.0) == 1.0
    assert yarn_attention({"mscale": 0.707, "mscale_all_dim": 0.707}, 40) == 1.0
    assert yarn_attention({"attention_factor": 1.5, "mscale": 1.0}, 40) == 1.5


def test_bands_without_a_gap_are_no_division_by_zero() -> None:
    """Llama-4-Scout: low_freq_factor and high_freq_factor are both 1."""
    rope = {
        "rope_type": "llama3", "rope_theta": 5e5, "factor": 16.0, "low_freq_factor": 1.0,
        "high_freq_factor": 1.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    plain, found = unscaled(rope, 128), frequencies(rope, 128)
    ratios = {round(a / b, 9) for a, b in zip(plain.radians, found.radians, strict=True)}
    assert ratios == {1.0, 16.0}


@pytest.mark.parametrize(
    ("rope", "why"),
    [
        ({"rope_type": "ntk", "rope_theta": 1e4, "factor": 2.0}, "'ntk' is not described"),
        ({"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}, "original_max_position_emb"),
        ({"rope_type": "llama3", "rope_theta": 1e4, "factor": 2.0}, "original_max_position_emb"),
        ({"rope_type": "default", "rope_theta": [1e4, 1e6]}, "rope_theta is not one number"),
        (
            {
                "rope_type": "su", "rope_theta": 1e4, "short_factor": [1.0],
                "original_max_position_embeddings": 4096,
            },
            "no list of 64 numbers",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(rope: dict[str, Any], why: str) -> None:
    with pytest.raises(PlanRefused, match=why):
        frequencies(rope, 128)
