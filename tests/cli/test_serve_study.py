"""`serve --try`: combinations compared, refusals kept apart, the same figures as one by one."""

import csv
import io
import json
from pathlib import Path

import pytest

from cli import main

BASE = [
    "serve", "--model", "llama-3.1-8b", "--gpu", "l40s", "--requests", "120",
    "--prompt-tokens", "600", "--output-tokens", "80",
]  # fmt: skip
TRACE = "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
    f"{i * 0.2},{300 + 7 * i},{20 + i % 30}\n" for i in range(150)
)


def run(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main([*BASE, *more]) == 0
    return capsys.readouterr().out


def test_each_combination_is_what_it_is_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text(TRACE)
    flags = ("--trace", str(trace), "--format", "json")
    tries = ("--try", "replicas=1,2", "--try", "speedup=1,3", "--try", "kv-cache-dtype=auto,fp8")
    cases = json.loads(run(capsys, *flags, *tries))["cases"]
    assert len(cases) == 8
    for case in cases:
        chosen = case.pop("chosen")
        del case["gpus"]
        alone = json.loads(
            run(
                capsys, *flags, "--replicas", chosen["replicas"], "--speedup", chosen["speedup"],
                "--kv-cache-dtype", chosen["kv_cache_dtype"],
            )
        )  # fmt: skip
        assert case == alone


def test_the_fewest_gpus_that_hold_the_slo_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--rate", "60", "--ttft", "1", "--tpot", "60ms", "--try", "replicas=1,2,4,8")
    data = json.loads(run(capsys, *flags, "--format", "json"))
    holding = [case["gpus"] for case in data["cases"] if case["slo"]["holds"]]
    assert 0 < len(holding) < 4
    assert data["fewest_gpus"]["gpus"] == min(holding)
    text = run(capsys, *flags)
    assert f"Fewest GPUs that hold the SLO: {min(holding)}" in text
    assert text.count("does not hold") == 4 - len(holding)
    rows = list(csv.DictReader(io.StringIO(run(capsys, *flags, "--format", "csv"))))
    assert [row["gpus"] for row in rows] == ["1", "2", "4", "8"]
    none = run(capsys, "--rate", "60", "--ttft", "1ms", "--try", "replicas=1,2")
    assert none.startswith("No combination holds the SLO.")


def test_what_does_not_fit_says_so_and_the_rest_is_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ("--model", "llama-3.1-70b", "--try", "tensor-parallel-size=1,4")
    engine = run(capsys, *flags, "--max-model-len", "16384")
    assert "tensor parallel size 1: refused: vLLM 0.33.0 would refuse to start: " in engine
    assert "tensor parallel size 4: refused" not in engine
    alone = run(capsys, *flags, "--engine", "ideal")
    assert "tensor parallel size 1: refused: no memory is left for the cache" in alone
    assert "tensor parallel size 4: refused" not in alone


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--try", "replicas"), "NAME=VALUE"),
        (("--try", "colour=1"), "NAME=VALUE"),
        (("--try", "replicas=1,two"), "'two' is no whole number"),
        (("--try", "speedup=0"), "above 0"),
        (("--try", "speedup=inf"), "finite"),
        (("--try", "max-num-seqs=0"), "at least 1"),
        (("--try", "replicas=1", "--try", "replicas=2"), "once"),
        (("--try", "replicas=1,2", "--find-rate"), "leave out --find-rate"),
        (("--ray", "auto"), "--try"),
        (("--try", "rate=1,2", "--trace", "x.csv"), "leave out --trace"),
    ],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], word: str
) -> None:
    try:
        status = main([*BASE, *flags])
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert word in error


def test_a_combination_that_serves_nothing_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--prompt-tokens", "200000", "--try", "replicas=1,2")
    out = run(capsys, *flags)
    assert out.count("120 of 120 requests refused") == 2
    assert "TTFT" not in out
    cases = json.loads(run(capsys, *flags, "--format", "json"))["cases"]
    assert all("slo" not in case and "120 of 120" in case["refused"] for case in cases)


def test_answers_of_one_token_are_compared_without_a_tpot(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = run(capsys, "--output-tokens", "1", "--try", "replicas=1")
    assert "TPOT p95 none" in out


def test_drafting_is_compared_with_none(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "--acceptance", "0.7", "--try", "lookahead=0,3", "--format", "json")
    without, drafted = json.loads(out)["cases"]
    assert without["drafting"] is None
    assert drafted["drafting"]["tokens_per_step"] == pytest.approx((1 - 0.7**4) / 0.3)
    assert drafted["tpot_s"]["p50"] < without["tpot_s"]["p50"]
    assert main([*BASE, "--try", "lookahead=-1,3"]) == 2
