"""The refusal of an unknown id, with the ids it may have meant, if any is close."""

from collections.abc import Iterable

from planner.errors import PlanRefused

CLOSE = 0.6
"""Likeness, of 1, from which a name is worth suggesting."""


def unknown_id(
    kind: str, given: str, known: Iterable[str], otherwise: str = "", *, spelt: str | None = None
) -> PlanRefused:
    """The refusal, ready to raise, with up to three known ids that are spelt almost like `given`.

    otherwise: what else can be given, a sentence without its full stop. spelt: `given` as ids are.
    """
    from difflib import get_close_matches  # only the path of a mistake pays for it

    names, text = list(known), (given if spelt is None else spelt).lower()
    containing = sorted(
        (name for name in names if text and text in name),
        key=lambda name: (text not in name.split("-"), len(name)),
    )
    alike = get_close_matches(text, names, n=3, cutoff=CLOSE)
    closest = list(dict.fromkeys((*containing[:3], *alike)))[:3]
    near = f" Close in name: {', '.join(closest)}." if closest else ""
    other = f" {otherwise}." if otherwise else ""
    return PlanRefused(f"{given[:80]!r} is not among the {kind} presets.{other}{near}")
