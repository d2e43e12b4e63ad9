"""What is to be run and where, and why it must not start."""

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from planner.errors import SizewellError
from planner.units import format_bytes
from validate.card import GpuFacts, machine
from validate.checks import Check
from validate.suites import DEFAULT_MODEL, suite

IDLE_SHARE = 0.02
"""Of its memory, what a card that nobody uses may show as used: an idle H200 shows 0.4 %."""


class RunRefused(SizewellError):
    """A run that must not start; one sentence says why and what to do."""


@dataclass(frozen=True)
class Job:
    """What to run and where. device "cpu" is a rehearsal; index counts GPUs as the driver does."""

    suite: str = "quick"
    device: str = "cuda:0"
    model: str = DEFAULT_MODEL
    output: Path | None = None
    leave_free: float = 0.03
    share: bool = False
    only: tuple[str, ...] = ()
    command: str = ""

    @property
    def index(self) -> int:
        return int(self.device.partition(":")[2] or 0)

    def checks(self) -> tuple[Check, ...]:
        found = suite(self.suite, device=self.device, model=self.model)
        return tuple(c for c in found if not self.only or c.id.startswith(self.only))


def other_processes(gpu: GpuFacts) -> str:
    """How many others are on the card, in words."""
    count = len(gpu.process_ids)
    return "1 other process" if count == 1 else f"{count} other processes"


def card_for(job: Job) -> GpuFacts | None:
    """The GPU of this job, None for a rehearsal. Raises RunRefused where it cannot be used."""
    if job.device == "cpu":
        return None
    here = machine()
    if not here.gpus:
        raise RunRefused(f"no GPU to validate on: {here.reason}; rehearse with --device cpu")
    if job.index >= len(here.gpus):
        raise RunRefused(f"there is no GPU {job.index}: this machine has {len(here.gpus)}")
    gpu = here.gpus[job.index]
    if gpu.process_ids and not job.share:
        raise RunRefused(
            f"GPU {job.index} ({gpu.name}) is used by {other_processes(gpu)}, which would distort "
            "both: wait, or say --share"
        )
    if gpu.memory_used_bytes > IDLE_SHARE * gpu.memory_bytes and not job.share:
        raise RunRefused(
            f"{format_bytes(gpu.memory_used_bytes)} of GPU {job.index} ({gpu.name}) are in use, by "
            "processes that cannot be seen from here: wait for them, or say --share"
        )
    return gpu


@contextmanager
def only_run_on(name: str) -> Iterator[None]:
    """One run per GPU at a time on this machine. Raises RunRefused while another is on."""
    path = Path(tempfile.gettempdir()) / f"sizewell-validate-{name}.lock"
    if not path.exists():
        path.touch()
    with path.open() as handle:  # which another user's file allows too
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunRefused(
                f"another validation runs on {name} right now: wait for it, or cancel it"
            ) from None
        yield
