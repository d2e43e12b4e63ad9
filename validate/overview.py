"""A record in a few lines: one row for each dry run, then the wall, training and notes."""

from collections.abc import Iterator

from validate.record import Case, Record
from validate.verdict import difference, sentence, value

PARTS = {"memory": "all memory", "prefill": "prefill", "decode": "decode step"}


def overview(record: Record) -> str:
    """Markdown; a cell is 'predicted -> measured (difference)'."""
    lines = [
        f"| dry run | {' | '.join(PARTS.values())} |",
        "| --- |" + " ---: |" * len(PARTS),
        *_dry_runs(record),
        "",
        *(f"- {line}" for line in (*_wall(record), *_training(record))),
        f"- {sentence(record)}",
        *(f"- {note}" for note in record.notes),
    ]
    return "\n".join(lines) + "\n"


def _dry_runs(record: Record) -> Iterator[str]:
    found: dict[str, dict[str, Case]] = {}
    for case in record.section("dry_run"):
        _, name, part = case.id.rsplit("/", 2) if case.id.count("/") > 1 else (case.id, "", "")
        found.setdefault(name, {})[part] = case
    for name, parts in found.items():
        cells = [_cell(parts.get(part)) for part in PARTS]
        title = parts["memory"].title.partition(":")[0] if "memory" in parts else name
        yield f"| {title} | {' | '.join(cells)} |"


def _cell(case: Case | None) -> str:
    if case is None or case.measured is None:
        return "-"
    return f"{value(case, case.predicted)} -> {value(case, case.measured)} ({difference(case)})"


def _wall(record: Record) -> Iterator[str]:
    for case in record.section("wall"):
        if case.id.endswith("/users"):
            yield (
                f"{case.title}: {value(case, case.predicted)} predicted, "
                f"{value(case, case.measured)} fit."
            )


def _training(record: Record) -> Iterator[str]:
    judged = [case for case in record.section("training") if case.error is not None]
    if judged:
        worst = max(judged, key=lambda case: abs(case.error or 0))
        held = sum(case.verdict == "pass" for case in judged)
        yield (
            f"Peaks of training steps: {held} of {len(judged)} within "
            f"{100 * (worst.tolerance or 0):.0f} %; the furthest off is {worst.title.lower()} "
            f"({difference(worst)})."
        )
