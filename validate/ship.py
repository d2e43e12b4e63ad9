"""Make a record the one that comes with Sizewell, and renew what is written from it.

    python -m validate.ship record.json

That is the README's figures and speed.json, which other cards borrow their efficiencies from. Tests
compare both with the shipped record and read every figure from it, so nothing is left to do.
"""

import sys
from dataclasses import replace
from pathlib import Path

from planner.errors import SizewellError
from presets import make_speed
from validate.inputs import known_gpu
from validate.overview import overview
from validate.record import SECTIONS, SHIPPED, Record, RecordRefused, read, write

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"
FILE, GPU = "h200-full.json", "h200-sxm-141gb"
COMMAND = "python -m validate --suite full"


def shippable(record: Record) -> Record:
    """`record` as it ships. Raises RecordRefused for a rehearsal and for a part of a run."""
    missing = [name for name in SECTIONS if not record.section(name)]
    of = known_gpu(str(record.card.get("name")), int(record.card.get("memory_bytes") or 0))
    if of is None or of.id != GPU:
        raise RecordRefused(f"the record that ships is of {GPU}, and this one is of another card")
    if record.kind != "measurement" or record.cancelled or missing:
        raise RecordRefused(
            "only a whole measurement of the full suite ships"
            + (f": this record has nothing on {', '.join(missing)}" if missing else "")
        )
    return replace(record, command=COMMAND)


def with_figures(text: str, record: Record) -> str:
    """A README's text with the figures of `record` between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise RecordRefused(f"the README has no {BEGIN.strip()} ... {END}")
    return before + begin + overview(record) + end + after


def main(arguments: list[str]) -> int:
    """Exit code 0: shipped; 2: refused."""
    try:
        (path,) = arguments
        record = shippable(read(Path(path)))
        README.write_text(with_figures(README.read_text("utf-8"), record), "utf-8")
        write(record, SHIPPED / FILE)
        make_speed.main(str(SHIPPED / FILE), GPU)
    except ValueError:
        print("usage: python -m validate.ship record.json", file=sys.stderr)
        return 2
    except SizewellError as error:
        print(f"validate.ship: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
