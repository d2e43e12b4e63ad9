"""What a person should know about a plan, as data: a severity, a code, a sentence."""

from planner.findings.finding import Finding
from planner.findings.of_cards import of_hardware, of_parallelism
from planner.findings.of_length import of_attention, of_context, of_load
from planner.findings.of_memory import of_fit, of_model
from planner.plan import Plan

ORDER = {"error": 0, "warning": 1, "info": 2}


def findings(plan: Plan) -> tuple[Finding, ...]:
    """Findings in order of weight: errors, warnings, information."""
    kinds = (of_fit, of_context, of_load, of_model, of_parallelism, of_attention, of_hardware)
    found = [finding for kind in kinds for finding in kind(plan)]
    return tuple(sorted(found, key=lambda finding: ORDER[finding.severity]))
