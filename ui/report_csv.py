"""A plan's derivation as CSV: one row per line of the arithmetic."""

import csv
import io

from planner.explain import derivation
from planner.plan import Plan


def as_csv(plan: Plan) -> str:
    """Columns: label, formula, substitution, bytes, in_total."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("label", "formula", "substitution", "bytes", "in_total"))
    for step in derivation(plan):
        writer.writerow(
            (step.label, step.formula, step.substitution, step.bytes, str(step.in_total).lower())
        )
    return out.getvalue()
