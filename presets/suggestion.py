"""The refusal of an unknown id, with the ids it may have meant."""

from collections.abc import Iterable

from planner.errors import PlanRefused


def unknown_id(kind: str, given: str, known: Iterable[str]) -> PlanRefused:
    """One sentence naming the three known ids closest to `given`, ready to raise."""
    from difflib import get_close_matches  # only the path of a mistake pays for it

    names, text = list(known), given.lower()
    containing = sorted((name for name in names if text in name), key=len)
    alike = get_close_matches(text, names, n=3, cutoff=0.0)
    closest = list(dict.fromkeys((*containing[:3], *alike)))[:3]
    return PlanRefused(
        f"No {kind} is called {given!r}; the closest names are {', '.join(closest)}."
    )
