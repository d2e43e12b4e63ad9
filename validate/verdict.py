"""A record in words: one sentence, and the table that --table and reports print."""

from collections.abc import Iterable, Iterator
from math import ceil

from planner.units import format_bytes
from validate.record import Case, Record

NAMES = {
    "memory": "memory", "correctness": "kernels", "speed": "speed", "dry_run": "dry run",
    "wall": "wall",
}  # fmt: skip


def sentence(record: Record) -> str:
    """'All 64 predictions hold on NVIDIA H200: single tensors within 0.1 %, prefill within 7 %.'"""
    judged = [c for c in record.cases if c.verdict in ("pass", "fail")]
    wrong = [c for c in judged if c.verdict == "fail"]
    name = record.card.get("name", "this device")
    if record.kind == "rehearsal":
        skipped = sum(c.verdict == "skipped" for c in record.cases)
        ran = f"{len(record.cases) - skipped} checks ran"
        state = f"{ran}, {skipped} were skipped" if skipped else ran
        state += f", {len(wrong)} failed" if wrong else ""
        ending = " It was cancelled." if record.cancelled else ""
        return f"Rehearsal without a GPU: {state}. Its figures mean nothing.{ending}"
    ending = " The run was cancelled." if record.cancelled else ""
    if not judged:
        return f"Nothing was measured on {name}.{ending}"
    held = len(judged) - len(wrong)
    start = (
        f"All {len(judged)} predictions hold on {name}"
        if not wrong
        else f"{held} of {len(judged)} predictions hold on {name}"
    )
    parts = [
        f"{label} within {_percent(worst)}"
        for label, worst in (
            ("single tensors", _worst(record.section("memory"))),
            ("memory of whole models", _worst(_dry(record, "/memory"))),
            ("time of a kernel", _worst(c for c in record.section("speed") if not c.at_most)),
            ("decode steps", _worst(_dry(record, "/decode"))),
            ("prefill", _worst(_dry(record, "/prefill"))),
            ("training steps", _worst(record.section("training"))),
        )
        if worst is not None
    ]
    tail = f" Failed: {'; '.join(map(_failure, wrong))}." if wrong else ""
    return start + (f": {', '.join(parts)}" if parts else "") + "." + tail + ending


def _failure(case: Case) -> str:
    off = difference(case)
    return case.title if off == "-" else f"{case.title} ({off})"


def _dry(record: Record, ending: str) -> list[Case]:
    return [c for c in record.section("dry_run") if c.id.endswith(ending)]


def _worst(cases: Iterable[Case]) -> float | None:
    errors = [abs(c.error) for c in cases if c.error is not None and c.verdict in ("pass", "fail")]
    return max(errors, default=None)


def _percent(share: float) -> str:
    """Rounded up, for what is said to be within it."""
    return f"{ceil(1000 * share - 1e-6) / 10:.1f} %" if share >= 0.0005 else "0.05 %"


def value(case: Case, number: float | None) -> str:
    """A figure of a case with its unit."""
    if number is None:
        return "-"
    if case.unit == "bytes":
        return format_bytes(int(number))
    if case.unit == "s":
        return f"{number * 1e3:,.2f} ms" if number >= 1e-3 else f"{number * 1e6:,.1f} µs"
    if case.unit == "users":
        return f"{number:,.0f}"
    if case.unit == "bytes/s":
        return f"{number / 1e12:,.2f} TB/s"
    if case.unit == "FLOP/s":
        return f"{number / 1e12:,.0f} TFLOP/s"
    if case.unit == "error":
        return f"{number:.1e}"
    return f"{number:,.3g} x"


LEAST_SHARE = 0.01
"""Kernels that reach less of their roof are bound by something else: the roof says nothing."""


def difference(case: Case) -> str:
    """By how much the measurement is off, in percent, with its sign; of a kernel's roof, which is
    no prediction, how much it reached."""
    if case.error is None or case.at_most:
        return "-"
    if case.section == "kernels":
        share = 1 / (1 + case.error)
        return f"{100 * share:.0f} % of the roof" if share >= LEAST_SHARE else "-"
    return f"{100 * case.error:+.2f} %"


def named(case: Case) -> str:
    """Its title; the variant of a kernel and a skipped part of a whole model are in its id only."""
    part = case.id.rpartition("/")[2]
    if case.section == "kernels":
        variant = case.id.split("/")[2].replace("-", " ")
        return case.title if variant in case.title else f"{case.title}, {variant}"
    if case.section != "dry_run" or part not in ("prefill", "decode") or part in case.title:
        return case.title
    return f"{case.title}: {part}"


WHOLE = ("dry_run", "wall", "training")
"""Sections about whole models, which tables and reports show; the others are about single tensors
and kernels."""
HEAD = ("What", "Predicted", "Measured", "Difference", "Verdict")


def rows(cases: Iterable[Case]) -> Iterator[tuple[str, str, str, str, str]]:
    """A table row for each case, in the order of HEAD."""
    for case in cases:
        bound = "at most " if case.at_most and case.predicted is not None else ""
        yield (
            named(case), bound + value(case, case.predicted), value(case, case.measured),
            difference(case), case.verdict + (f": {case.reason}" if case.reason else ""),
        )  # fmt: skip


def markdown(record: Record, sections: tuple[str, ...] = WHOLE) -> str:
    """A table of whole sections: what they predicted and what came."""
    lines = [f"| {' | '.join(HEAD)} |", "| --- | ---: | ---: | ---: | --- |"]
    found = rows(c for s in sections for c in record.section(s))
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in found]
    return "\n".join(lines) + "\n"
