"""A run of the validation as one JSON document: which card, what was predicted, what came."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, Literal

from planner.errors import SizewellError

SCHEMA_VERSION = 1
NOT_REUSED = "pieces the allocator could not reuse"
"""What the wall's cases call the allocator's share, from which calibrations take it."""
SHIPPED = Path(__file__).with_name("records")
SECTIONS = ("card", "memory", "correctness", "kernels", "speed", "dry_run", "wall", "training")
Verdict = Literal["pass", "fail", "skipped", "info"]
Unit = Literal["bytes", "s", "x", "users", "error", "bytes/s", "FLOP/s"]


class RecordRefused(SizewellError):
    """A file that is no record, or one of another version."""


@dataclass(frozen=True)
class Case:
    """One figure: predicted first, then measured.

    how says where the prediction comes from. tolerance is relative; None: nothing is judged.
    at_most: the prediction is a bound, and less is fine. samples are all measurements, of which
    `measured` is the median. details carry what figures need (FLOPs, bytes, kernel).
    """

    id: str
    section: str
    title: str
    unit: Unit
    how: str = ""
    predicted: float | None = None
    measured: float | None = None
    samples: tuple[float, ...] = ()
    tolerance: float | None = None
    at_most: bool = False
    verdict: Verdict = "info"
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def error(self) -> float | None:
        """(measured - predicted) / predicted; None where one of them is missing."""
        if self.predicted is None or self.measured is None or self.predicted == 0:
            return None
        return (self.measured - self.predicted) / self.predicted


def measured(case: Case, samples: Iterable[float], *, judge: bool = True, **details: Any) -> Case:
    """`case` with its measurements and the verdict that follows from its tolerance."""
    found = tuple(samples)
    value = median(found)
    values = {**_values(case), "samples": found, "measured": value}
    values["details"] = {**case.details, **details}
    result = Case(**values)
    return Case(**{**values, "verdict": judged(result) if judge else "info"})


def judged(case: Case) -> Verdict:
    """Pass or fail by the case's own tolerance; info where it has none."""
    if case.predicted is None or case.measured is None:
        return "info"
    if case.at_most:
        return "pass" if case.measured <= case.predicted * (1 + (case.tolerance or 0)) else "fail"
    if case.tolerance is None:
        return "info"
    return (
        "pass" if abs(case.measured - case.predicted) <= case.tolerance * case.predicted else "fail"
    )


def failed(case: Case, reason: str) -> Case:
    return Case(**{**_values(case), "verdict": "fail", "reason": reason})


def skipped(case: Case, reason: str) -> Case:
    return Case(**{**_values(case), "verdict": "skipped", "reason": reason})


def _values(case: Case) -> dict[str, Any]:
    return {f.name: getattr(case, f.name) for f in fields(case)}


@dataclass(frozen=True)
class Record:
    """One run. kind "rehearsal": on the CPU at tiny sizes, whose figures mean nothing.

    notes: what a reader must know about this run and its figures do not say.
    """

    kind: Literal["measurement", "rehearsal"]
    suite: str
    started: str
    seconds: float
    card: dict[str, Any]
    software: dict[str, Any]
    commit: str
    roofs: dict[str, float] = field(default_factory=dict)
    points: tuple[dict[str, Any], ...] = ()
    cases: tuple[Case, ...] = ()
    command: str = ""
    cancelled: bool = False
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def date(self) -> str:
        return self.started[:10]

    def counts(self) -> dict[str, int]:
        """Cases by verdict."""
        return dict(Counter(case.verdict for case in self.cases))

    def section(self, name: str) -> tuple[Case, ...]:
        return tuple(case for case in self.cases if case.section == name)

    def case(self, case_id: str) -> Case | None:
        return next((case for case in self.cases if case.id == case_id), None)


def as_json(record: Record) -> str:
    return json.dumps(_finite(asdict(record)), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no infinities and no NaN: null stands for both."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def write(record: Record, path: Path) -> None:
    """The record as one file, complete or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(path.suffix + ".part")
    part.write_text(as_json(record), encoding="utf-8")
    part.replace(path)


def read(path: Path) -> Record:
    """The record of a file. Raises RecordRefused in one sentence."""
    try:
        return from_bytes(path.read_bytes())
    except RecordRefused as error:
        why = str(error)
    except OSError as error:
        why = f"it cannot be read: {(error.strerror or 'no reason given').lower()}"
    raise RecordRefused(f"{path}: {why}")


def from_bytes(data: bytes) -> Record:
    """A record from a file's content. Raises RecordRefused in one sentence."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RecordRefused("this is not text, so it is no record") from None
    if not text.strip():
        raise RecordRefused("this is empty, so it is no record")
    return from_text(text)


def from_text(text: str) -> Record:
    """A record from JSON. Raises RecordRefused naming what is missing or unknown."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise RecordRefused(f"this is no JSON from {at} on, so it is no record") from None
    except ValueError:
        raise RecordRefused("this holds a number too long to be one") from None
    except RecursionError:
        raise RecordRefused("this is nested too deeply to be a record") from None
    if not isinstance(data, dict) or "schema_version" not in data or "cases" not in data:
        raise RecordRefused("this is no record of a validation: it has no schema_version and cases")
    if data["schema_version"] != SCHEMA_VERSION:
        raise RecordRefused(
            f"schema_version: this file has {data['schema_version']!r}, and only "
            f"{SCHEMA_VERSION} can be opened"
        )
    _known(data, Record, "record")
    cases = data.pop("cases", [])
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise RecordRefused("cases: must be a list of objects")
    return Record(
        **{**data, **{name: _listed(data, name) for name in ("points", "notes")}},
        cases=tuple(case_from(case) for case in cases),
    )


def case_from(data: Mapping[str, Any]) -> Case:
    _known(data, Case, "case")
    case = Case(**{**data, "samples": _listed(data, "samples")})
    if case.section not in SECTIONS or case.verdict not in ("pass", "fail", "skipped", "info"):
        raise RecordRefused(f"case {case.id!r}: unknown section or verdict")
    return case


def _listed(data: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    found = data.get(name, ())
    if not isinstance(found, list | tuple):
        raise RecordRefused(f"{name}: must be a list")
    return tuple(found)


def _known(data: Mapping[str, Any], kind: type, what: str) -> None:
    names = {f.name: f for f in fields(kind)}
    unknown = set(data) - set(names)
    if unknown:
        raise RecordRefused(f"{what} has the unknown field {sorted(unknown)[0]!r}")
    needed = [n for n in list(names)[: 7 if kind is Record else 4] if n not in data]
    if needed:
        raise RecordRefused(f"{what} lacks the field {needed[0]!r}")


def shipped() -> tuple[Record, ...]:
    """Records that come with Sizewell, newest first."""
    found = [read(path) for path in sorted(SHIPPED.glob("*.json"))]
    return tuple(sorted(found, key=lambda record: record.started, reverse=True))
