"""Validation runs as processes of their own: start, follow, cancel; found again after a reload.

Each run has a folder: run.json says what was started, events.jsonl what it said so far, record.json
what it found. The server reads files and never loads torch.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from planner.errors import SizewellError
from validate.inputs import known_gpu
from validate.record import Case, Record, case_from, read, shipped

ROOT = Path(__file__).parent.parent
REPLAY = "SIZEWELL_REPLAY"
"""Names a record to play back instead of measuring, for demonstrations and tests."""
PLAYED = "played back"
CANCELLED = "cancelled"
"""A file in the folder of a run that was asked to stop."""


@dataclass(frozen=True)
class Progress:
    """What a run has said so far. error: why it ended without a verdict."""

    folder: Path
    device: str
    running: bool
    title: str = ""
    share: float = 0.0
    seconds_left: float = 0.0
    card: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "measurement"
    cases: tuple[Case, ...] = ()
    verdict: str = ""
    error: str = ""
    replay: bool = False


def home() -> Path:
    """Where runs are kept: SIZEWELL_STATE, or the user's cache folder."""
    told = os.environ.get("SIZEWELL_STATE")
    if told:
        return Path(told)
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "sizewell" / "validate"


def replayed() -> Path | None:
    """The record to play back, if the environment names one."""
    told = os.environ.get(REPLAY)
    return Path(told) if told else None


def command(device: str, suite: str, model: str, folder: Path) -> list[str]:
    """The command line of a run."""
    base = [sys.executable, "-m", "validate", "--json-lines", "--output", f"{folder}/record.json"]
    record = replayed()
    if record is not None:
        seconds = os.environ.get(f"{REPLAY}_SECONDS", "3")
        return [*base, "--replay", str(record), "--replay-seconds", seconds]
    return [*base, "--suite", suite, "--device", device, "--model", model]


def start(device: str, suite: str, model: str) -> Path:
    """Start a run in its own process group and return its folder."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
    folder = home() / f"{stamp}-{device.replace(':', '')}"
    folder.mkdir(parents=True)
    arguments = command(device, suite, model, folder)
    with (folder / "events.jsonl").open("w") as events, (folder / "noise.txt").open("w") as noise:
        process = subprocess.Popen(
            arguments, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=events, stderr=noise,
            start_new_session=True,
        )  # fmt: skip
    said = {
        "pid": process.pid, "device": device, "suite": suite, "replay": replayed() is not None,
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


def cancel(folder: Path) -> None:
    """Ask a run to stop; it writes the record of what it found and ends."""
    said = _said(folder)
    if said and _alive(int(said["pid"])):
        (folder / CANCELLED).touch()
        os.killpg(int(said["pid"]), signal.SIGTERM)


def folders() -> list[Path]:
    """All runs, newest first."""
    return sorted((p.parent for p in home().glob("*/run.json")), reverse=True)


def running() -> list[Progress]:
    """Runs that are still on, whoever started them."""
    found = [progress(folder) for folder in folders()[:16]]
    return [p for p in found if p.running]


def progress(folder: Path) -> Progress:
    """Everything a run has said so far."""
    said = _said(folder) or {}
    alive = _alive(int(said.get("pid", 0)))  # asked first: what a dead run said is complete
    state: dict[str, Any] = {"share": 0.0}
    cases: list[Case] = []
    for event in _events(folder):
        kind = event["event"]
        if kind == "start":
            state |= {"card": event["card"], "kind": event["kind"]}
        elif kind == "check":
            state |= {
                "title": event["title"],
                "share": event["index"] / max(1, event["of"]),
                "seconds_left": event["seconds_left"],
            }
        elif kind == "case":
            cases.append(case_from(event["case"]))
        elif kind == "end":
            state |= {"verdict": event["verdict"], "share": 1.0}
        elif kind == "refused":
            state |= {"error": event["reason"]}
    ended = "verdict" in state or "error" in state
    if not ended and not alive and (folder / CANCELLED).exists():  # before it could answer
        state["verdict"] = "Nothing was measured. The run was cancelled."
    elif not ended and not alive:
        state["error"] = _last_words(folder)
    return Progress(
        folder, said.get("device", ""), alive and not ended, cases=tuple(cases),
        replay=bool(said.get("replay")), **state,
    )  # fmt: skip


def record_for(gpu_id: str) -> Record | None:
    """The newest measurement of a card like that one: this machine's own before a shipped one."""
    for label, record in records():
        if PLAYED not in label and measures(record, gpu_id):
            return record
    return None


def measures(record: Record, gpu_id: str) -> bool:
    """Whether the record is a measurement of whole models on such a card."""
    card = record.card
    if record.kind != "measurement" or not record.section("dry_run"):
        return False
    gpu = known_gpu(str(card.get("name", "")), int(card.get("memory_bytes") or 0))
    return gpu is not None and gpu.id == gpu_id


def records(first: Sequence[Path] = ()) -> list[tuple[str, Record]]:
    """Records that can be looked at: those of the runs in `first`, this machine's measurements,
    newest first, then those that ship, then rehearsals."""
    own: list[tuple[str, Record]] = []
    rehearsed: list[tuple[str, Record]] = []
    asked = [folder for folder in folders() if folder in first]
    for folder in [*asked, *(f for f in folders() if f not in first)]:
        path = folder / "record.json"
        if path.is_file():
            try:
                record = _read(path, path.stat().st_mtime_ns)
            except SizewellError:
                continue
            if record.cases:
                replay = (_said(folder) or {}).get("replay")
                later = record.kind == "rehearsal" and folder not in first
                label = _label(record, PLAYED if replay else "this machine")
                (rehearsed if later else own).append((label, record))
    ships = [(_label(record, "shipped"), record) for record in _shipped()]
    return own + ships + rehearsed


@lru_cache(maxsize=64)
def _read(path: Path, written_ns: int) -> Record:
    return read(path)


@cache
def _shipped() -> tuple[Record, ...]:
    return shipped()


def label_of_opened(record: Record) -> str:
    """How an opened record is called beside the others."""
    return _label(record, "opened here")


def _label(record: Record, where: str) -> str:
    name = record.card.get("name") or "processor"
    kind = "rehearsal" if record.kind == "rehearsal" else record.suite
    return f"{name}, {kind}, {record.started[:16].replace('T', ' ')} ({where})"


def _said(folder: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _events(folder: Path) -> list[dict[str, Any]]:
    try:
        lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            found.append(event)
    return found


def _alive(pid: int) -> bool:
    """Whether the process is still on; one of our own that ended is put to rest."""
    if pid <= 0:
        return False
    try:
        done, _ = os.waitpid(pid, os.WNOHANG)
        return done == 0
    except ChildProcessError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / "noise.txt").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f"the run ended without a verdict{': ' + last if last else ''}"
