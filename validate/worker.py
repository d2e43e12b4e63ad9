"""Runs checks one after the other in a process of its own, and says on stdout what it finds.

Started by `validate.runner` with a job on stdin. A check that raises is a failed case and the next
one runs; after an error that leaves the GPU's context broken the process ends with BROKEN, and the
runner starts another for what is left.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from time import perf_counter
from typing import Any, TextIO

from validate.checks import Check
from validate.record import Case
from validate.suites import suite

BROKEN = 3


def main() -> int:
    """Reads {"device", "suite", "model", "checks", "facts", "leave_free", "date"} from stdin."""
    job = json.loads(sys.stdin.read())
    events = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # whatever libraries print must not be taken for events
    checks = {c.id: c for c in suite(job["suite"], device=job["device"], model=job["model"])}
    worker = Worker(job, events)
    for check_id in job["checks"]:
        if not worker.run(checks[check_id]):
            return BROKEN
    return 0


class Worker:
    """A device, the facts found so far, and where events go."""

    def __init__(self, job: dict[str, Any], events: TextIO) -> None:
        import torch

        from validate.bench import Bench
        from validate.card import torch_facts

        self._events = events
        self._date: str = job["date"]
        device = torch.device(job["device"])
        if device.type == "cuda":
            torch.cuda.set_device(device)
        torch.set_grad_enabled(False)
        torch.manual_seed(0)
        self.bench = Bench(device, job["leave_free"], facts=job["facts"])
        self.card, software = torch_facts(job["device"])
        self.send(event="machine", card=self.card, software=software)

    def send(self, **event: Any) -> None:
        self._events.write(json.dumps(event) + "\n")

    def run(self, check: Check) -> bool:
        """One check; False when the device can no longer be used."""
        self.send(event="check", id=check.id)
        start = perf_counter()
        usable = True
        try:
            for case in self._cases(check):
                self.send(event="case", case=asdict(case))
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
            self.send(event="case", case=asdict(broken(check, reason)))
            usable = self._recovers()
        self.send(event="done", id=check.id, seconds=perf_counter() - start, facts=self.bench.facts)
        return usable

    def _cases(self, check: Check) -> Iterator[Case]:
        from validate.inputs import resolve, this_gpu

        module, function = check.run.split(":")
        cases = getattr(import_module(f"validate.{module}"), function)
        gpu = this_gpu(self.card, self.bench.facts, self._date)
        with _tidy(self.bench):
            yield from cases(self.bench, **resolve(check.arguments, check.needs, gpu))

    def _recovers(self) -> bool:
        try:
            self.bench.free_memory()
            self.bench.synchronize()
        except Exception:
            return False
        return True


@contextmanager
def _tidy(bench: Any) -> Iterator[None]:
    try:
        yield
    finally:
        bench.free_memory()


def broken(check: Check, reason: str) -> Case:
    """The case that stands for a check that did not end well."""
    return Case(check.id, check.section, check.title, "x", verdict="fail", reason=reason)


if __name__ == "__main__":
    sys.exit(main())
