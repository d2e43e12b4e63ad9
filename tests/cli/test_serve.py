"""`serve`: text, JSON and CSV, and one line for each mistake."""

import csv
import json
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from threading import Thread

import pytest

from cli import main, serve_command
from ui.traffic_work import USUAL

BASE = ["serve", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--requests", "200"]


def test_json_counts_every_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"]["finished"] == 200
    assert found["ttft_s"]["p50"] <= found["ttft_s"]["p95"]


def test_text_and_csv(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main([*BASE, "--find-replicas", "--rate", "3"]) == 0
    assert "Replicas needed at 3 requests/s: 1" in capsys.readouterr().out
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n0,100,10\n1,200,20\n")
    assert main([*BASE, "--trace", str(trace), "--format", "csv"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("start_s,queue,running")
    assert sum(float(row.split(",")[head.split(",").index("finished")]) for row in rows) == 2


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--trace", "nowhere.csv"], "nowhere.csv"),
        (["--ttft", "none"], "'none' is no time above 0: write 2, 2s or 800ms"),
        (["--variation", "1e-300"], "variation of the gaps 1e-300 must be 0, or from 0.001 to 100"),
        (["--ttft", "-1"], "no time above 0"),
        (["--requests", "1000000000"], "must be from 1 to 100,000,000"),
        (["--shared-prefix-tokens", "-5"], "--shared-prefix-tokens must be at least 0"),
        (["--speedup", "2"], "--speedup is of a trace: add --trace"),
        (["--rate", "0"], "rate 0 must be above 0"),
        (["--rate", "1e9"], "rate 1,000,000,000 must be above 0 and below 1,000,000,000"),
        (["--share", "2"], "--share 2 must be above 0 and at most 1\n"),
        (["--lookahead", "2000"], "--lookahead 2,000 must be from 0 to 1,024\n"),
        (["--acceptance", "0.7"], "add --lookahead"),
        (["--lookahead", "3", "--acceptance", "7"], "acceptance is a probability"),
        (["--speculative-config", "3"], "--speculative-config takes a JSON object"),
        (["--max-num-seqs", "0"], "max-num-seqs"),
        (["--prompt-tokens", "0"], "prompt-tokens"),
        (["--replicas", "0"], "replicas"),
        (["--max-num-seqs", "9000"], "max_num_batched_tokens"),
        (["--engine", "llama.cpp", "--block-size", "8"], "block-size"),
        (["--engine", "ideal", "--engine-version", "0.19.1"], "engine-version"),
    ],
)
def test_mistakes_are_one_line(
    flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main([*BASE, *flags])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_every_request_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--rate", "20", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main([*BASE, "--rate", "20", "--format", "requests-csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert len(rows) == found["requests"]["finished"] == 200
    assert [float(r["arrival_s"]) for r in rows] == sorted(float(r["arrival_s"]) for r in rows)
    mean = sum(float(r["ttft_s"]) for r in rows) / len(rows)
    assert mean == pytest.approx(found["ttft_s"]["mean"], rel=1e-6)
    kept = sum(float(r["ttft_s"]) <= 2 and float(r["tpot_s"]) <= 0.05 for r in rows)
    assert kept == sum(int(r["within_slo"]) for r in rows)
    assert all(float(r["ttft_s"]) <= float(r["e2e_s"]) for r in rows)


def test_the_pages_slo_is_the_command_lines() -> None:
    parser = ArgumentParser()
    serve_command.add_to(parser)
    usual = parser.parse_args(["--model", "m", "--gpu", "g"])
    assert (usual.ttft, usual.tpot, usual.share) == (2.0, 0.05, 0.95)
    assert (USUAL.ttft_s, USUAL.tpot_s, USUAL.share) == (2.0, 0.05, 0.95)


def test_memory_is_the_engines_unless_by_bytes_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--format", "json"]) == 0
    usual = json.loads(capsys.readouterr().out)["pool"]
    plan = ["plan", *BASE[1:5], "--engine", "vllm", "--format", "json"]
    assert main(plan) == 0
    engine = json.loads(capsys.readouterr().out)["engine"]
    assert usual["memory"] == f"vLLM {engine['version']}"
    assert usual["num_blocks"] == engine["num_blocks"] - 1
    assert usual["kv_cache_bytes"] == engine["kv_cache_bytes"]
    assert usual["max_num_seqs"] == engine["settings"]["max_num_seqs"]
    assert main([*BASE, "--engine", "ideal", "--format", "json"]) == 0
    alone = json.loads(capsys.readouterr().out)["pool"]
    assert alone["memory"] == "bytes alone"
    assert alone["num_blocks"] > usual["num_blocks"]


def test_what_is_compared_has_the_engines_memory(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--max-model-len", "16384", "--try", "max-num-seqs=64,128", "--format", "json"]
    assert main([*BASE, *flags]) == 0
    for case in json.loads(capsys.readouterr().out)["cases"]:
        assert case["pool"]["memory"].startswith("vLLM")
        assert str(case["pool"]["max_num_seqs"]) == case["chosen"]["max_num_seqs"]


def test_where_nothing_is_served_the_limit_is_the_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Llama-3.1 states 131,072 positions."""
    assert main([*BASE, "--prompt-tokens", "200000"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "Nothing is served: 200 of 200 requests refused, longer than the model's limit of 131,072 "
        "tokens"
    )
    for word in ("TTFT", "TPOT", "0.0 %", "0.00"):
        assert word not in out
    assert main([*BASE, "--prompt-tokens", "200000", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ttft_s"]["p95"] is None
    assert found["requests_per_s"] is None
    assert main([*BASE, "--prompt-tokens", "200000", "--find-rate"]) == 2
    assert "131,072 tokens" in capsys.readouterr().err


def test_a_pool_too_small_for_a_request_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """100,000 tokens of 131,072 B are 12.2 GiB; beside 15 GiB of weights an L4 has 7 at most."""
    flags = ["--gpu", "l4", "--engine", "ideal", "--prompt-tokens", "100000", "--requests", "20"]
    assert main([*BASE, *flags, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"]["refused_by_pool"] == 20
    room = found["pool"]["kv_cache_bytes"] // 131_072
    assert room < 7 * 2**30 // 131_072
    assert main([*BASE, *flags]) == 0
    assert f"20 of 20 requests refused, needing more than the pool's {room:,} tokens" in (
        capsys.readouterr().out
    )


def test_lookahead_has_its_tokens_as_well_as_its_slots(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--rate", "0.5", "--format", "json"]
    found = []
    for more in ([], ["--lookahead", "3", "--acceptance", "0.7"]):
        assert main([*BASE, *flags, *more]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["drafting"] is None
    assert found[1]["drafting"]["tokens_per_step"] == pytest.approx((1 - 0.7**4) / 0.3)
    assert 1.6 < found[0]["tpot_s"]["mean"] / found[1]["tpot_s"]["mean"] < 2.2
    assert found[1]["requests"]["finished"] == 200


def test_a_draft_takes_the_engines_memory_and_gives_tokens(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = '{"model": "llama-3.2-1b", "num_speculative_tokens": 3}'
    assert main([*BASE, "--format", "json"]) == 0
    without = json.loads(capsys.readouterr().out)
    assert main([*BASE, "--format", "json", "--speculative-config", config]) == 0
    drafted = json.loads(capsys.readouterr().out)
    assert drafted["pool"]["num_blocks"] < without["pool"]["num_blocks"]
    assert drafted["tpot_s"]["mean"] < without["tpot_s"]["mean"]
    assert "assumption" in drafted["drafting"]["how"]
    assert main([*BASE, "--speculative-config", config]) == 0
    assert "Drafting: 3 drafted a step by a draft model, llama-3.2-1b" in capsys.readouterr().out


def test_all_claims_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--claims", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["claims"]
    assert len(found) == 6
    both = next(c for c in found if "24 times" in c["claim"])
    rates = [float(row["Requests/s"]) for row in both["rows"]]
    assert rates[0] == min(rates)
    assert float(both["rows"][-1]["Times as fast"]) == pytest.approx(rates[-1] / rates[0], rel=0.01)
    assert main([*BASE, "--claims"]) == 0
    out = capsys.readouterr().out
    assert all(c["found"] in out for c in found)


def test_sensitivity_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--sensitivity", "--requests", "60", "--rate", "2"]
    assert main([*BASE, *flags, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["moves"]
    assert {row["change"] for row in rows} == {
        "KV cache", "Block size", "Shared prefix", "Tokens a step",
    }  # fmt: skip
    alone = {}
    for tokens in ("512", "8192"):
        assert main([*BASE, "--requests", "60", "--rate", "2", "--max-num-batched-tokens", tokens,
                     "--format", "json"]) == 0  # fmt: skip
        alone[f"{int(tokens):,}"] = json.loads(capsys.readouterr().out)["ttft_s"]["p95"]
    steps = {row["value"]: row["ttft_p95_s"] for row in rows if row["change"] == "Tokens a step"}
    for value, expected in alone.items():
        assert steps[value] == pytest.approx(expected)
    assert main([*BASE, *flags]) == 0
    assert "Tokens a step 512" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--claims", "--format", "csv"], "take text or json"),
        (["--claims", "--sensitivity"], "answer of its own"),
        (["--sensitivity", "--try", "replicas=1,2"], "answer of its own"),
        (["--sensitivity", "--trace", "t.csv"], "leave out --trace"),
    ],
)
def test_questions_stand_alone(
    flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*BASE, *flags]) == 2
    assert says in capsys.readouterr().err


def test_one_seed_has_no_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BASE, "--requests", "20", "--find-rate", "--seeds", "1"]) == 0
    assert "requests/s (one seed, so no interval)." in capsys.readouterr().out


def test_a_field_longer_than_csv_takes_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("x" * 200_000)
    assert main([*BASE, "--trace", str(trace)]) == 2
    assert "line 1 of the trace is no CSV" in capsys.readouterr().err


@pytest.mark.parametrize(("tokens", "offered"), [(20_000, True), (30_000, False)])
def test_a_trace_is_not_cut_by_a_remedy(
    tokens: int, offered: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An L4 holds 28,864 tokens of Llama-3.1-8B, so that vLLM refuses the model's own length."""
    trace = tmp_path / "trace.csv"
    trace.write_text(f"TIMESTAMP,ContextTokens,GeneratedTokens\n0,{tokens},10\n1,200,20\n")
    words = ["serve", "--model", "llama-3.1-8b", "--gpu", "l4"]
    for more in (["--trace", str(trace)], ["--prompt-tokens", str(tokens), "--claims"]):
        assert main([*words, *more]) == 2
        assert ("--max-model-len 28864 works" in capsys.readouterr().err) is offered


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes")
def test_a_pipe_is_planned_for_as_a_file_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It can be read only once: for the longest request, and for what is served."""
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n0,30000,10\n1,200,20\n"
    file, pipe = tmp_path / "trace.csv", tmp_path / "pipe"
    file.write_text(text)
    os.mkfifo(pipe)
    for gpu, status in (("l4", 2), ("l40s", 0)):
        found = []
        for trace in (file, pipe):
            writer = Thread(target=pipe.write_text, args=(text,))
            if trace is pipe:
                writer.start()
            words = ["serve", "--model", "llama-3.1-8b", "--gpu", gpu, "--trace", str(trace)]
            assert main(words) == status
            found.append(capsys.readouterr())
            if trace is pipe:
                writer.join()
        assert found[0] == found[1]
