"""One run of a suite: a worker process watched from outside, a record at the end whatever happens.

The runner itself never touches the GPU. What it learns it hands on as events, plain dictionaries
that are written one per line as JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

from validate.checks import Check
from validate.job import Job, RunRefused, card_for, only_run_on
from validate.lines import Lines
from validate.record import Case, Record, case_from, skipped, write
from validate.verdict import sentence
from validate.worker import BROKEN, broken

ROOT = Path(__file__).parent.parent
Event = dict[str, Any]
PATIENCE = 20.0
"""A check may take this many times what it takes on an H200, and at least MIN_PATIENCE_S."""
MIN_PATIENCE_S = 240.0
START_PATIENCE_S = 240.0
MAX_STARTS = 12
SETTLED_S = 5.0


@dataclass
class Run:
    """Progress of one job; `emit` gets every event."""

    job: Job
    emit: Callable[[Event], None]
    cases: list[Case] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    software: dict[str, Any] = field(default_factory=dict)
    cancelled: bool = False
    _process: subprocess.Popen[str] | None = None
    _took_s: float = 0.0
    _planned_s: float = 0.0

    def cancel(self, *_: object) -> None:
        """Stop after what is on the device right now; the record keeps what was found."""
        self.cancelled = True
        if self._process is not None:
            self._process.kill()

    def go(self) -> Record:
        """Run everything and return the record. Raises RunRefused before anything starts."""
        job, checks = self.job, self.job.checks()
        if not checks:
            raise RunRefused(f"no check of the {job.suite} suite starts with {', '.join(job.only)}")
        gpu = card_for(job)
        started, clock = datetime.now(UTC), perf_counter()
        with nullcontext() if gpu is None else only_run_on(f"gpu-{job.index}"):
            if gpu is not None:
                self.card = {k: v for k, v in asdict(gpu).items() if k != "process_ids"}
                self.card["other_processes"] = len(gpu.process_ids)
                self.software["driver"] = gpu.driver
            self.emit({
                "event": "start", "suite": job.suite, "device": job.device, "kind": self.kind,
                "card": self.card, "checks": [
                    {"id": c.id, "title": c.title, "seconds": c.seconds} for c in checks],
            })  # fmt: skip
            self._all(checks, started.date().isoformat())
        record = Record(
            kind=self.kind, suite=job.suite, started=started.isoformat(timespec="seconds"),
            seconds=perf_counter() - clock, card=self.card, software=self.software,
            commit=commit(), roofs=self.facts.get("roofs", {}),
            points=tuple(self.facts.get("points", ())), cases=tuple(self.cases),
            command=job.command, cancelled=self.cancelled,
        )  # fmt: skip
        for key in ("context_bytes", "libraries_bytes"):
            if key in self.facts:
                record.card[key] = self.facts[key]
        if job.output is not None:
            write(record, job.output)
        self.emit({
            "event": "end", "record": None if job.output is None else str(job.output),
            "verdict": sentence(record), "counts": record.counts(), "cancelled": self.cancelled,
        })  # fmt: skip
        return record

    @property
    def kind(self) -> Any:
        return "rehearsal" if self.job.device == "cpu" else "measurement"

    def _all(self, checks: tuple[Check, ...], date: str) -> None:
        by_id = {c.id: c for c in checks}
        left = [c.id for c in checks]
        for _ in range(MAX_STARTS):
            if not left or self.cancelled:
                break
            left = self._one_worker(by_id, left, date)
        reason = "cancelled" if self.cancelled else "not reached: too many checks broke before it"
        for check_id in left:
            self._found(skipped(broken(by_id[check_id], ""), reason))

    def _one_worker(self, checks: dict[str, Check], left: list[str], date: str) -> list[str]:
        """Run a worker until it ends; what it did not come to is returned."""
        job = self.job
        with tempfile.TemporaryFile("w+", errors="replace") as noise:
            process = subprocess.Popen(
                [sys.executable, "-m", "validate.worker"], cwd=ROOT, env=environment(job.device),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise, text=True,
            )  # fmt: skip
            self._process = process
            assert process.stdin is not None
            process.stdin.write(json.dumps({
                "device": job.device, "suite": job.suite, "model": job.model, "checks": left,
                "facts": self.facts, "leave_free": job.leave_free, "date": date,
            }))  # fmt: skip
            process.stdin.close()
            current, left, why = self._watch(process, checks, list(left))
            process.wait()
            self._process = None
            noise.seek(0)
            lines = [line.strip() for line in noise.read().splitlines() if line.strip()]
            if current is not None and not self.cancelled:
                why = why or _ending(process.returncode, lines)
                self._found(broken(checks[current], why))
                left.remove(current)
            elif current is None and left and process.returncode not in (0, BROKEN):
                self._found(broken(checks[left.pop(0)], _ending(process.returncode, lines)))
        return left

    def _watch(
        self, process: subprocess.Popen[str], checks: dict[str, Check], left: list[str]
    ) -> tuple[str | None, list[str], str]:
        """Follow a worker's events: the check it was in when it ended, what is left, why."""
        current: str | None = None
        assert process.stdout is not None
        lines = Lines(process.stdout)
        while True:
            if current is None:
                patience = START_PATIENCE_S
            else:
                patience = max(MIN_PATIENCE_S, PATIENCE * checks[current].seconds)
            line = lines.next(patience)
            if line is None:
                process.kill()
                return current, left, "it did not end in the time it was given, and was stopped"
            if not line:
                return current, left, ""
            event = json.loads(line)
            kind = event["event"]
            if kind == "machine":
                self.card |= event["card"]
                self.software |= event["software"]
            elif kind == "check":
                current = event["id"]
                self.emit({
                    "event": "check", "id": current, "title": checks[current].title,
                    "index": len(checks) - len(left), "of": len(checks),
                    "seconds_left": self._pace() * sum(checks[c].seconds for c in left),
                })  # fmt: skip
            elif kind == "case":
                self._found(case_from(event["case"]))
            elif kind == "done":
                self.facts = event["facts"]
                self.emit({"event": "done", "id": event["id"], "seconds": event["seconds"]})
                self._took_s += event["seconds"]
                self._planned_s += checks[event["id"]].seconds
                left.remove(event["id"])
                current = None

    def _pace(self) -> float:
        """How long checks take here against what they take on an H200, once a few are done."""
        return self._took_s / self._planned_s if self._planned_s > SETTLED_S else 1.0

    def _found(self, case: Case) -> None:
        self.cases.append(case)
        self.emit({"event": "case", "case": asdict(case)})


def _ending(code: int | None, lines: list[str]) -> str:
    """Why a worker ended, in one sentence."""
    if code is not None and code < 0:
        what = f"the process died of {signal.Signals(-code).name}"
    else:
        what = f"the process ended with code {code}"
    return f"{what}: {lines[-1][:300]}" if lines else what


def environment(device: str) -> dict[str, str]:
    """A worker's: GPUs in the driver's order; a rehearsal interprets kernels and sees no GPU."""
    found = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PYTHONUNBUFFERED": "1"}
    found.pop("PYTORCH_CUDA_ALLOC_CONF", None)
    found.pop("PYTORCH_ALLOC_CONF", None)
    found.pop("TRITON_INTERPRET", None)
    if device == "cpu":
        found |= {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    return found


def commit() -> str:
    """The revision of this checkout, "-dirty" if its files differ, or what the environment says."""
    told = os.environ.get("SIZEWELL_COMMIT")
    if told:
        return told
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True,
            check=False, timeout=5,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
