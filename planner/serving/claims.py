"""All claims about serving, by name, and their outcomes as text and data: page and command line.

for name, outcome in tried(replica, prompt, output):
    print(as_text(outcome))
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from planner.serving import experiments
from planner.serving.experiments import Outcome
from planner.serving.replica import Replica
from planner.serving.requests import Sampler

CLAIMS: dict[str, Callable[[Replica, Sampler, Sampler], Outcome]] = {
    "Paged against contiguous": experiments.paged_memory,
    "Continuous against static": experiments.continuous_batching,
    "Both against neither": experiments.both_against_neither,
    "Prefix caching for agents": lambda one, prompt, output: experiments.agent_prefixes(one),
    "1,000 chats": experiments.thousand_chats,
    "Beams, copy-on-write": lambda one, prompt, output: experiments.beam_sharing(one),
}


def tried(replica: Replica, prompt: Sampler, output: Sampler) -> Iterator[tuple[str, Outcome]]:
    """Every claim on this replica, with requests of these lengths where it takes any."""
    for name, run in CLAIMS.items():
        yield name, run(replica, prompt, output)


def as_data(name: str, outcome: Outcome) -> dict[str, Any]:
    """The outcome with its rows by column."""
    rows = [dict(zip(outcome.head, row, strict=True)) for row in outcome.rows]
    return {"name": name, **asdict(outcome), "head": list(outcome.head), "rows": rows}


def as_text(name: str, outcome: Outcome) -> str:
    """The outcome for a terminal."""
    table = [outcome.head, *outcome.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(outcome.head))]
    lines = [
        "  " + "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]  # fmt: skip
    return "\n".join(
        [name, f"  Claim: {outcome.claim} ({outcome.source}).", f"  Here: {outcome.found}",
         f"  {outcome.why}", *lines]
    ) + "\n"  # fmt: skip
