"""What was measured on a card like the plan's, as a section of the sizing report."""

from html import escape

from ui.tables import html_table
from validate.record import Record
from validate.verdict import HEAD, WHOLE, markdown, rows, sentence


def section_html(record: Record) -> str:
    """The verdict and the table of whole models: dry runs, the wall, training."""
    cases = [case for name in WHOLE for case in record.section(name)]
    table = html_table(HEAD, rows(cases), numeric=(1, 2, 3), stack=True)
    return f"<p>{escape(_about(record))}</p>{table}"


def section_markdown(record: Record) -> str:
    """The same in Markdown, with its heading."""
    return f"## Validation\n\n{_about(record)}\n\n{markdown(record).rstrip()}"


def _about(record: Record) -> str:
    notes = " ".join(record.notes)
    return f"{sentence(record)} Measured {record.date}.{' ' + notes if notes else ''}"
