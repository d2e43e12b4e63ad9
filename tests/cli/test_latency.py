"""Times of one deployment on the command line."""

import json

import pytest

from cli import main

BASE = ["latency", "--model", "llama-3.3-70b-instruct", "--gpu", "h100-sxm5-80gb", "-tp", "4",
        "--weights-dtype", "fp8", "--concurrency", "16"]  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main([*BASE, *more]) == 0
    return capsys.readouterr().out


def test_text_has_times_with_ranges_cost_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys)
    for word in ("TTFT alone", "TPOT alone", "under load", "MFU", "per million", "speculation:"):
        assert word in out
    assert "Times are estimates" in out


def test_json_adds_up(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, "--format", "json", "--usd-per-gpu-hour", "2.5"))
    assert data["cost"]["usd_per_hour"] == 10
    assert sum(data["tpot"]["shares"].values()) == pytest.approx(1)
    load = data["under_load"]
    rate = load["requests_per_s"] * data["request"]["output_tokens"]
    assert load["output_tokens_per_s"] == pytest.approx(rate)
    assert load["output_tokens_per_s_per_gpu"] == pytest.approx(rate / 4)
    assert data["tpot"]["low_s"] < data["tpot"]["seconds"] < data["tpot"]["high_s"]
    assert data["reach"]["supported_tokens"] == 131072
    assert data["ring"] is None


def test_a_ring_says_what_it_sends(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, "--context-parallel-size", "2", "--format", "json"))
    assert data["ring"]["ranks"] == 2


def test_a_card_without_rates_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["latency", "--model", "llama-3.1-8b", "--gpu", "custom"]
    assert main([*arguments, "--gpu-memory-bytes", str(2**36)]) == 2
    error = capsys.readouterr().err
    assert "memory bandwidth" in error
    assert error.count("\n") == 1
