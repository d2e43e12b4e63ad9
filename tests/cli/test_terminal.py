"""The command as a process: locales, pipes, full disks and Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest

from cli import main

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "planner"]
NOTHING_FREE = Path("/dev/full")


def ran(*words: str, **settings: str) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, **settings}
    return subprocess.run(
        [*COMMAND, *words], cwd=ROOT, env=environment, capture_output=True, check=False
    )


def test_a_locale_without_utf_8_changes_no_byte() -> None:
    """The report of a training says 1 \u00d7 H100 and \u00b5s."""
    words = ("train", "--model", "qwen3-8b", "--gpu", "h100-sxm5-80gb")
    found = ran(*words, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout == ran(*words, LC_ALL="C.UTF-8").stdout
    assert "1 \u00d7 H100" in found.stdout.decode()


@pytest.mark.skipif(not NOTHING_FREE.exists(), reason="no /dev/full here")
def test_an_answer_that_cannot_be_written_is_one_sentence() -> None:
    with NOTHING_FREE.open("w") as full:
        found = subprocess.run(
            [*COMMAND, "list", "gpus"], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False
        )
    said = b"python -m planner list: the answer was not written: no space left on device\n"
    assert (found.returncode, found.stderr) == (2, said)


def test_a_reader_that_has_enough_is_no_error() -> None:
    process = subprocess.Popen(
        [*COMMAND, "list", "models"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait() == 1
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_it_without_a_word(tmp_path: Path) -> None:
    """It waits for a trace that never comes, until the interrupt."""
    trace = tmp_path / "trace.csv"
    os.mkfifo(trace)
    words = ["serve", "--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb", "--trace", str(trace)]
    process = subprocess.Popen([*COMMAND, *words], cwd=ROOT, stderr=subprocess.PIPE)
    with trace.open("w"):  # waits until the command has opened it
        sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()


@pytest.mark.parametrize(
    ("command", "flag", "default"),
    [
        ("search", "--ttft", "2.0"),
        ("search", "--max-gpus", "16"),
        ("serve", "--requests", "2000"),
        ("serve", "--tpot", "0.05"),
        ("latency", "--prompt-tokens", "8192"),
        ("plan", "--concurrency", "1"),
    ],
)
def test_help_says_defaults(
    command: str, flag: str, default: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    said = " ".join(capsys.readouterr().out.split("options:")[1].split())
    assert re.search(rf"{flag} [^()]*(\([^:]*\)[^()]*)?\(default: {re.escape(default)}\)", said)
    assert "None)" not in said


def test_help_of_training_lists_what_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "{ddp,zero1,zero2,zero3,fsdp2} (default: zero1)" in said
    assert "tokens a sequence (default: 4096)" in said
