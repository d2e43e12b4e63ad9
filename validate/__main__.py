"""python -m validate: were the predictions right on this card?"""

import argparse
import json
import re
import signal
import sys
import tempfile
import threading
from dataclasses import replace
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from planner.errors import SizewellError
from validate.card import machine
from validate.job import Job
from validate.record import SECTIONS, Record, RecordRefused, case_from, read
from validate.runner import Event, Run
from validate.suites import DEFAULT_MODEL
from validate.verdict import difference, markdown, sentence, value

DESCRIPTION = (
    "Predict, measure, compare: memory, speed and correctness on this machine's GPU. Leaves the "
    "card's settings alone."
)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: every prediction held; 1: some did not; 2: nothing was run."""
    given = sys.argv[1:] if arguments is None else arguments
    args = _parser().parse_args(given)
    try:
        _check(args)
        if args.table:
            print(markdown(read(args.table), SECTIONS), end="")
            return 0
        emit = _json_line if args.json_lines else _Text().show
        if args.replay:
            stopped = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stopped.set())
            seconds = args.replay_seconds
            return _exit_code(replay(read(args.replay), emit, seconds, args.output, stopped))
        codes = [_run(args, device, given, emit) for device in _devices(args)]
        return max(codes)
    except BrokenPipeError:
        sys.stderr.close()
        return 2
    except SizewellError as error:
        if args.json_lines:
            _json_line({"event": "refused", "reason": str(error)})
        print(f"validate: {error}", file=sys.stderr)
        return 2


def _check(args: argparse.Namespace) -> None:
    """Refuse what would fail only after minutes, or measure something else than was asked for."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", args.device):
        raise RecordRefused(f"--device {args.device}: give cpu, or cuda:0 for the first GPU")
    if args.gpu_index is not None and not re.fullmatch(r"all|\d+", args.gpu_index):
        raise RecordRefused(f"--gpu-index {args.gpu_index}: give a number from 0, or all")
    if not 0 <= args.leave_free < 1:
        raise RecordRefused(f"--leave-free {args.leave_free:g} must be from 0 to below 1")
    if not 0 <= args.replay_seconds < threading.TIMEOUT_MAX:
        raise RecordRefused(f"--replay-seconds {args.replay_seconds:g} must be 0 or more")
    if args.output is None:
        return
    if args.output.is_dir():
        raise RecordRefused(f"--output {args.output} is a folder: name a file in it")
    try:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=args.output.parent).close()
    except OSError as error:
        why = (error.strerror or "no reason given").lower()
        raise RecordRefused(f"--output {args.output} cannot be written: {why}") from None


def _run(args: argparse.Namespace, device: str, given: list[str], emit) -> int:  # type: ignore[no-untyped-def]
    output = args.output
    if output is None:
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        output = Path(f"validate-{args.suite}-{device.replace(':', '')}-{stamp}.json")
    elif args.gpu_index == "all":
        output = output.with_name(f"{output.stem}-{device.replace(':', '')}{output.suffix}")
    job = Job(
        suite=args.suite, device=device, model=args.model, output=output,
        leave_free=args.leave_free, share=args.share, only=tuple(args.only),
        command=" ".join(["python -m validate", *given]),
    )  # fmt: skip
    run = Run(job, emit)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, run.cancel)
    return _exit_code(run.go())


def _exit_code(record: Record) -> int:
    return 1 if record.cancelled or record.counts().get("fail") else 0


def _devices(args: argparse.Namespace) -> list[str]:
    if args.gpu_index == "all":
        return [f"cuda:{gpu.index}" for gpu in machine().gpus] or ["cuda:0"]
    return [args.device if args.gpu_index is None else f"cuda:{args.gpu_index}"]


def replay(  # type: ignore[no-untyped-def]
    record: Record, emit, seconds: float, output: Path | None, stopped: threading.Event
) -> Record:
    """Send the events of a recorded run again, over so many seconds; nothing is measured.

    Once `stopped` is set it ends, as a run does that is cancelled: with what came so far.
    """
    emit({
        "event": "start", "suite": record.suite, "device": "replay", "kind": record.kind,
        "card": record.card, "replay": True,
        "checks": [{"id": c.id, "title": c.title, "seconds": 1.0} for c in record.cases],
    })  # fmt: skip
    count = len(record.cases)
    for index, case in enumerate(record.cases):
        left = seconds * (1 - index / count)
        emit({
            "event": "check", "id": case.id, "title": case.title, "index": index, "of": count,
            "seconds_left": left,
        })  # fmt: skip
        if stopped.wait(seconds / count):
            record = replace(record, cases=record.cases[:index], cancelled=True)
            break
        emit({"event": "case", "case": {**case.__dict__}})
        emit({"event": "done", "id": case.id, "seconds": seconds / count})
    if output is not None:
        from validate.record import write

        write(record, output)
    emit({
        "event": "end", "record": None if output is None else str(output),
        "verdict": sentence(record), "counts": record.counts(), "cancelled": record.cancelled,
    })  # fmt: skip
    return record


def _json_line(event: Event) -> None:
    print(json.dumps(event), flush=True)


class _Text:
    """Events for a person at a terminal."""

    def show(self, event: Event) -> None:
        kind = event["event"]
        if kind == "start":
            name = event["card"].get("name", "the processor")
            what = "Rehearsal on" if event["kind"] == "rehearsal" else "Validating on"
            print(f"{what} {name}: the {event['suite']} suite, {len(event['checks'])} checks")
        elif kind == "check":
            left = event["seconds_left"]
            print(
                f"[{event['index'] + 1}/{event['of']}] {event['title']} (about {left:.0f} s left)"
            )
        elif kind == "case":
            case = case_from(event["case"])
            print(
                f"    {case.verdict:8}{case.title}: predicted {value(case, case.predicted)}, "
                f"measured {value(case, case.measured)} ({difference(case)})"
                + (f"; {case.reason}" if case.reason else "")
            )
        elif kind == "end":
            print(event["verdict"])
            if event["record"]:
                print(f"Record: {event['record']}")
        sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m validate", description=DESCRIPTION)
    add = parser.add_argument
    add("--suite", choices=("quick", "full"), default="quick", help="under 1, under 8 minutes")
    add("--device", default="cuda:0", help="cuda:N, or cpu for a rehearsal without figures")
    add("--gpu-index", help="which GPU, counted as the driver does, or all")
    add("--model", default=DEFAULT_MODEL, help="the preset whose plan the dry run makes real")
    add("--output", type=Path, help="where the record goes")
    add("--json-lines", action="store_true", help="progress as JSON, one event a line")
    add("--leave-free", type=float, default=0.03, help="share of memory never used")
    add("--share", action="store_true", help="run although other processes use the card")
    add("--only", nargs="+", default=[], help="only checks whose id starts with one of these")
    add("--table", type=Path, metavar="RECORD", help="print a record's Markdown table and end")
    add("--replay", type=Path, metavar="RECORD", help="play a recorded run back; no measurement")
    add("--replay-seconds", type=float, default=10.0, help="how long a replay takes")
    return parser


if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    sys.exit(main())
