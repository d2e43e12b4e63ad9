"""Make a record the one that comes with Sizewell, and write the README's figures from it.

    python -m validate.ship record.json
    python -m presets.make_speed validate/records/h200-full.json h200-sxm-141gb

The second step renews the speeds that cards without a record borrow. Tests compare the README with
the shipped record and read every figure from it, so nothing else is to be changed by hand.
"""

import sys
from dataclasses import replace
from pathlib import Path

from planner.errors import SizewellError
from validate.overview import overview
from validate.record import SECTIONS, SHIPPED, Record, RecordRefused, read, write

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->"
COMMAND = "python -m validate --suite full"


def shippable(record: Record) -> Record:
    """`record` as it ships. Raises RecordRefused for a rehearsal and for a part of a run."""
    missing = [name for name in SECTIONS if not record.section(name)]
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
        write(record, SHIPPED / "h200-full.json")
    except ValueError:
        print("usage: python -m validate.ship record.json", file=sys.stderr)
        return 2
    except SizewellError as error:
        print(f"validate.ship: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
