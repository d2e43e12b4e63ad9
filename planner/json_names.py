"""JSON objects whose names are all different: which of two values counts is a guess."""

from collections import Counter
from typing import Any

from planner.errors import ConfigRefused


def named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object, as json.loads wants its object_pairs_hook. Raises ConfigRefused naming a name
    that is given twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        shown = twice[:60] if twice.isprintable() else ascii(twice[:60])
        raise ConfigRefused(f"{shown} is given twice", field=twice)
    return found
