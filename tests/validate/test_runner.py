"""The whole flow without a GPU: real worker processes, crashes, cancelling, refusals, replays."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from validate import job, runner
from validate.card import GpuFacts, Machine
from validate.job import Job, RunRefused, card_for, only_run_on
from validate.record import Record, read
from validate.runner import Run
from validate.suites import suite

ROOT = Path(__file__).parents[2]
H200 = ROOT / "validate" / "records" / "h200-full.json"


def run(*only: str, suite_name: str = "quick", output: Path | None = None) -> tuple[Record, list]:
    events: list[dict[str, Any]] = []
    given = Job(suite=suite_name, device="cpu", only=only, output=output)
    return Run(given, events.append).go(), events


def test_a_rehearsal_runs_every_kind_of_check(tmp_path: Path) -> None:
    record, events = run(suite_name="full", output=tmp_path / "record.json")
    assert record.kind == "rehearsal"
    assert not [c.title for c in record.cases if c.verdict == "fail"]
    assert {c.section for c in record.cases} >= {
        "card", "memory", "correctness", "kernels", "speed", "dry_run", "wall",
    }  # fmt: skip
    judged = [c for c in record.cases if c.verdict == "pass"]
    assert not [c for c in judged if c.unit == "s"], "times of a rehearsal are never judged"
    assert [c for c in judged if c.unit == "bytes" and c.section == "memory"]
    assert read(tmp_path / "record.json") == record
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start"
    assert kinds[-1] == "end"
    assert kinds.count("check") == kinds.count("done") == len(suite("full", device="cpu"))
    assert events[-1]["record"] == str(tmp_path / "record.json")


BROKEN = {
    "naive": ("raise RuntimeError('too much of it')", "RuntimeError: too much of it"),
    "flash": ("os.abort()", "the process died of SIGABRT"),
    "split": ("time.sleep(600)", "it did not end in the time it was given"),
}
"""Checks, what happens in each, and what the record says of it."""


def test_a_broken_check_fails_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Workers find three checks broken between two whole ones: a sitecustomize replaced them."""
    lines = [f"import os, sys, time; sys.path.insert(0, {str(ROOT)!r})",
             "import validate.memory_checks as m"]  # fmt: skip
    for name, (what, _) in BROKEN.items():
        lines += [f"def {name}(*a, **k):\n    {what}\n    yield", f"m.{name}_cases = {name}"]
    (tmp_path / "sitecustomize.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(runner, "MIN_PATIENCE_S", 6.0)
    monkeypatch.setattr(runner, "PATIENCE", 1.0)
    record, _ = run("memory/pool", *(f"memory/{name}" for name in BROKEN), "memory/logits")
    verdicts = {case.id.split("/")[1]: case for case in record.cases}
    for name, (_, reason) in BROKEN.items():
        assert verdicts[name].verdict == "fail"
        assert reason in verdicts[name].reason
    assert verdicts["pool"].verdict == verdicts["logits"].verdict == "pass"


def test_cancelling_keeps_what_was_found_and_ends_the_process_group(tmp_path: Path) -> None:
    output = tmp_path / "record.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "validate", "--device", "cpu", "--suite", "full", "--json-lines",
         "--output", str(output)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "case":
            os.killpg(process.pid, signal.SIGTERM)
            break
    process.stdout.read()
    assert process.wait(20) == 1
    record = read(output)
    assert record.cancelled
    assert [c for c in record.cases if c.verdict != "skipped"]
    assert [c for c in record.cases if c.reason == "cancelled"]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def gpu(**values: Any) -> GpuFacts:
    facts = GpuFacts(0, "NVIDIA H200", 2**37, 0, "580", False, (), None, None, None, None)
    return replace(facts, **values)


def test_without_a_gpu_the_reason_and_the_rehearsal_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(job, "machine", lambda: Machine((), "the driver does not answer"))
    with pytest.raises(RunRefused, match=r"the driver does not answer; rehearse with --device cpu"):
        card_for(Job())


def test_a_card_in_use_is_left_alone_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "machine", lambda: Machine((gpu(process_ids=(1, 2)),)))
    with pytest.raises(RunRefused, match="is used by 2 other processes, which"):
        card_for(Job())
    assert card_for(Job(share=True)) == gpu(process_ids=(1, 2))
    monkeypatch.setattr(job, "machine", lambda: Machine((gpu(memory_used_bytes=2**33),)))
    with pytest.raises(RunRefused, match=r"8\.00 GiB of GPU 0 .* cannot be seen from here"):
        card_for(Job())
    assert card_for(Job(share=True)).memory_used_bytes == 2**33  # type: ignore[union-attr]
    monkeypatch.setattr(job, "machine", lambda: Machine((gpu(memory_used_bytes=2**29),)))
    assert card_for(Job()) == gpu(memory_used_bytes=2**29)
    monkeypatch.setattr(job, "machine", lambda: Machine((gpu(process_ids=(1, 2)),)))
    with pytest.raises(RunRefused, match="no GPU 3: this machine has 1"):
        card_for(Job(device="cuda:3"))


def test_one_run_at_a_time_on_a_card() -> None:
    with only_run_on("test-card"):
        match = "another validation runs on test-card"
        with pytest.raises(RunRefused, match=match), only_run_on("test-card"):
            pass
        with only_run_on("another-test-card"):
            pass
    with only_run_on("test-card"):
        pass


def test_rehearsals_do_not_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "only_run_on", lambda name: pytest.fail(f"{name} is locked"))
    assert run("memory/allocator")[0].cases


def test_a_replay_sends_the_events_of_a_run_and_measures_nothing(tmp_path: Path) -> None:
    output = tmp_path / "record.json"
    done = subprocess.run(
        [sys.executable, "-m", "validate", "--replay", str(H200), "--replay-seconds", "0.1",
         "--json-lines", "--output", str(output)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["replay"] is True
    assert len([e for e in events if e["event"] == "case"]) == len(read(H200).cases)
    assert "NVIDIA H200" in events[-1]["verdict"]
    assert read(output) == read(H200)


def test_refusals_are_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "validate", "--device", "cpu", "--only", "nothing"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "validate: no check of the quick suite starts with nothing\n"


def test_neither_the_runner_nor_a_page_needs_torch() -> None:
    code = (
        "import sys, validate.__main__, validate.runner, validate.calibration, validate.verdict\n"
        "heavy = {'torch', 'triton', 'numpy', 'pandas', 'streamlit', 'plotly'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
