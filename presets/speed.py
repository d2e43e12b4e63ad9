"""The reference card of speed.json: what its kernels reach, for cards that nobody measured here.

sustained.json holds what was published of other cards, each with its source and range.
"""

import json
from functools import cache
from pathlib import Path

from planner.hardware import Gpu
from planner.timing import speed
from planner.timing.speed import Reference, Speed

_FILE = Path(__file__).with_name("speed.json")
_SUSTAINED = Path(__file__).with_name("sustained.json")


@cache
def reference() -> Reference:
    """The reference card's points and shares, and what is published of others, with sources."""
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    points = (*document.pop("measured"), *document.pop("published"))
    source = f"{document.pop('source')}; {document.pop('published_source')}"
    others = json.loads(_SUSTAINED.read_text(encoding="utf-8"))
    return Reference(points=points, source=source, **document, **others)


def speed_of(gpu: Gpu) -> Speed:
    """The Speed of any GPU. Raises PlanRefused where no memory bandwidth is known."""
    return speed.speed_of(gpu, reference())
