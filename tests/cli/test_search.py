"""The search on the command line: three formats, one line for mistakes."""

import csv
import io
import json

import pytest

from cli import main

BASE = [
    "search", "--model", "llama-3.1-8b", "--prompt-tokens", "2048", "--output-tokens", "256",
    "--concurrency", "16", "--max-gpus", "2", "--gpu", "h100-sxm5-80gb", "--gpu", "l40s",
]  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert main([*BASE, *more]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *more: str) -> str:
    try:
        status = main([*BASE, *more])
    except SystemExit as stop:
        status = int(stop.code or 0)
    assert status == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_text_gives_the_answer_the_choices_and_the_reasons(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = run(capsys, "--ttft", "2", "--tpot", "12ms")
    assert "an hour serves 16 users" in out
    assert "Why the others lost" in out
    assert "× L40S, " in out
    assert "points tried" in out
    assert "asks again as soon as the last answer ends" in out
    assert "asks again" not in run(capsys, "--ttft", "2", "--tpot", "12ms", "--concurrency", "1")


def test_json_is_the_same_answer(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, "--ttft", "2s", "--tpot", "12ms", "--format", "json"))
    assert data["target"]["tpot_s"] == pytest.approx(0.012)
    best = data["winners"][0]
    assert best["tpot_s"] <= 0.012
    assert best["usd_per_hour"] == min(w["usd_per_hour"] for w in data["winners"])
    assert all(loser["reason"] for loser in data["nearest_losers"])


def test_csv_has_a_line_for_every_candidate(capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, "--tpot", "12ms", "--format", "json"))
    rows = list(csv.DictReader(io.StringIO(run(capsys, "--tpot", "12ms", "--format", "csv"))))
    assert len(rows) == data["winner_count"] + data["loser_count"]
    assert {row["lost"] for row in rows} >= {"", "tpot"}
    assert all(row["reason"].startswith("TPOT") for row in rows if row["lost"] == "tpot")


def test_ranges_say_what_is_tight_and_dearer_cards_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """speed.json carries an H200's times over at 0.85 to 1.25 of them; its own are nearer."""
    said = []
    for limit_ms in (37, 400):
        flags = ("--tpot", f"{limit_ms}ms")
        best = json.loads(run(capsys, *flags, "--format", "json"))["winners"][0]
        ms = 1e3 * best["tpot_s"]
        tight = ", tight" if 1.25 * ms > limit_ms else ""
        said.append(tight)
        assert f"TPOT {ms:.1f} ms ({0.85 * ms:.1f} to {1.25 * ms:.1f}{tight})" in run(
            capsys, *flags
        )
    assert said == [", tight", ""]
    dear = run(capsys, "--price", "h100-sxm5-80gb=0.1", "--price", "l40s=9")
    assert "meets it at $9.00, dearer than 1 × H100-SXM5-80GB at $0.10" in dear
    own = json.loads(
        run(capsys, "--gpu", "h200-sxm-141gb", "--price", "h200-sxm-141gb=0.1", "--format", "json")
    )
    labels = {w["efficiency"] for w in own["winners"] if w["gpu"] == "h200-sxm-141gb"}
    assert labels == {"calibrated"}


def test_token_counts_read_alike(capsys: pytest.CaptureFixture[str]) -> None:
    """k is 1,024, as plan --context reads it."""
    assert "at 8,192 + 512 tokens" in run(capsys, "--prompt-tokens", "8k", "--output-tokens", "512")
    assert "no number of tokens" in refused(capsys, "--prompt-tokens", "many")


def test_own_prices_decide(capsys: pytest.CaptureFixture[str]) -> None:
    def cheapest(*more: str) -> str:
        data = json.loads(run(capsys, "--format", "json", *more))
        gpu: str = data["winners"][0]["gpu"]
        return gpu

    dear = ["--price", "h100-sxm5-80gb=99", "--price", "l40s=0.1"]
    assert cheapest(*dear) == "l40s"
    assert cheapest("--price", "h100-sxm5-80gb=0.01", "--price", "l40s=9") == "h100-sxm5-80gb"


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (("--ttft", "soon"), "no time"),
        (("--price", "h100=cheap"), "no price"),
        (("--gpu", "h100-sxm5-80g"), "h100-sxm5-80gb"),
        (("--concurrency", "0"), "concurrency"),
        (("--tpot", "-1"), "no time above 0"),
        (("--ttft", "inf"), "'inf' is no time above 0: write 2, 2s or 800ms"),
        (("--weights-dtype", "fp7"), "fp7"),
        (("--max-gpus", "0"), "max_gpus"),
        (("--cached-tokens", "4000"), "more than the prompt's 2,048"),
        (("--usd-per-gpu-hour", "l4=-1"), "no price"),
    ],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, str], word: str
) -> None:
    assert word in refused(capsys, *flags)


def test_text_names_formats_limits_prices_and_what_was_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = run(capsys)
    assert "Formats tried: weights the model's own; cache the model's own" in out
    assert "weights bf16 (own), cache bf16 (own)" in out
    assert "auto" not in out
    assert "Limits: TTFT p95 within 2 s and TPOT within 40 ms" in out
    assert "per GPU-hour, " in out
    allowed = run(capsys, "--allow-quantisation")
    assert "weights the model's own, fp8, nvfp4, int4; cache the model's own, fp8." in allowed
    lifted = run(capsys, "--ttft", "none", "--tpot", "none", "--max-gpus", "8")
    assert "Limits: none" in lifted
    assert "8 GPUs at most (--max-gpus)." in lifted


def test_gpus_without_a_price_are_named_until_one_is_given(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "want of a price: l4" in run(capsys, "--gpu", "l4")
    free = ("--ttft", "none", "--tpot", "none")
    given = run(capsys, *free, "--gpu", "l4", "--usd-per-gpu-hour", "l4=0.02")
    assert "want of a price" not in given
    assert "L4: $0.02 per GPU-hour, as given" in given


def test_only_gpus_without_a_price_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", "--model", "llama-3.1-8b", "--gpu", "l4"]) == 2
    error = capsys.readouterr().err
    assert "no price is known for l4" in error
    assert "--usd-per-gpu-hour" in error
    assert error.count("\n") == 1


def test_the_engine_is_a_choice_and_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    free = ("--ttft", "none", "--tpot", "none")

    def rows(engine: str) -> list[dict[str, str]]:
        text = run(capsys, *free, "--engine", engine, "--format", "csv")
        return list(csv.DictReader(io.StringIO(text)))

    every = {row["engine"] for row in rows("any")}
    assert every == {"vllm", "sglang", "tensorrt-llm", "llama.cpp"}
    assert {row["engine"] for row in rows("sglang")} == {"sglang"}
    assert {row["engine_version"] for row in rows("ideal")} == {""}
    data = json.loads(run(capsys, *free, "--engine", "vllm", "--format", "json"))
    command = data["winners"][0]["command"]
    assert command.startswith("vllm serve meta-llama/")
    assert "--max-model-len 2304" in command
    text = run(capsys, *free, "--engine", "vllm")
    assert f"Start it with: {command}" in text
    assert "Start it with" not in run(capsys, *free, "--engine", "ideal")
    assert "Cheapest by engine" in run(capsys, *free)
    steps = json.loads(run(capsys, *free, "--format", "json"))["engine_steps"]
    assert {step["engine"] for step in steps} == every


def test_an_engine_that_takes_nothing_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "--weights-dtype", "fp8")
    assert "llama.cpp 2026: weights_dtype fp8: no GGUF file holds it" in out
    assert "has no such cache" in refused(capsys, "--engine", "sglang", "--kv-cache-dtype", "q8_0")


def test_prompts_and_answers_apart_have_two_commands(capsys: pytest.CaptureFixture[str]) -> None:
    flags = (
        "--prompt-tokens", "4096", "--output-tokens", "512", "--ttft", "20", "--tpot", "10ms",
        "--max-gpus", "8", "--engine", "sglang", "--format", "json",
    )  # fmt: skip
    data = json.loads(run(capsys, *flags))
    pairs = [w for w in data["winners"] if w["prompt_replicas"]]
    assert pairs
    assert "prompts: python -m sglang.launch_server" in pairs[0]["command"]
    assert "--disaggregation-mode prefill; answers: python" in pairs[0]["command"]
    assert pairs[0]["command"].endswith("--disaggregation-mode decode")
    together = json.loads(run(capsys, *flags, "--together"))
    assert not any(w["prompt_replicas"] for w in together["winners"])


def test_where_efficiencies_are_from_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    free = ("--ttft", "none", "--tpot", "none")
    assert "Efficiency:" not in run(capsys, *free)
    out = run(capsys, *free, "--gpu", "mi300x", "--usd-per-gpu-hour", "mi300x=0.1")
    assert "Efficiency:\n  Instinct MI300X: 45 % of the arithmetic peaks" in out
    slow = run(capsys, *free, "--gpu", "mi355x", "--usd-per-gpu-hour", "mi355x=0.05")
    assert "efficiency not measured on this card: slow end" in slow
