"""The refusal of an unknown id, with the ids it may have meant."""

from collections.abc import Iterable

from planner.errors import PlanRefused


def unknown_id(kind: str, given: str, known: Iterable[str]) -> PlanRefused:
    """One sentence naming the three known ids closest to `given`, ready to raise."""
    from difflib import get_close_matches  # only the path of a mistake pays for it

    closest = get_close_matches(given.lower(), list(known), n=3, cutoff=0.0)
    return PlanRefused(
        f"No {kind} is called {given!r}; the closest names are {', '.join(closest)}."
    )
