"""`plan --calibration`: a record of the card takes the place of estimates."""

from pathlib import Path

import pytest

from cli import main
from validate.record import read

RECORD = str(Path(__file__).parents[2] / "validate" / "records" / "h200-full.json")
DATE = read(Path(RECORD)).date


def plan(*flags: str) -> int:
    return main(["plan", "--model", "llama-3.1-8b", "--calibration", RECORD, *flags])


def test_the_plan_says_it_is_calibrated_and_what_moved(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--gpu", "h200-sxm-141gb", "--format", "markdown") == 0
    said = capsys.readouterr().out
    assert f"alibrated on another NVIDIA H200, {DATE}: context 621.00 MiB to" in said
    assert "| CUDA context (measured) | measured on such a card |" in said


def test_a_record_of_another_card_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--gpu", "h100-sxm5-80gb") != 0
    assert "this record is of NVIDIA H200 (h200-sxm-141gb)" in capsys.readouterr().err
