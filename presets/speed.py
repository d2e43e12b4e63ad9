"""The reference card of speed.json: what its kernels reach, for cards that nobody measured here.

sustained.json holds what was published of other cards, each with its source and range.
"""

import json
from functools import cache
from pathlib import Path

from planner.hardware import Gpu
from planner.timing import speed
from planner.timing.speed import Reference, Speed
from presets.gpus import load_gpu

_FILE = Path(__file__).with_name("speed.json")
_SUSTAINED = Path(__file__).with_name("sustained.json")


@cache
def reference() -> Reference:
    """The reference card's points and shares, and what is published of others, with sources.

    A published point gives its FLOPs: its ideal time follows from the roof that the record has.
    """
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    peak = load_gpu(document["gpu_id"]).bf16_flops_per_s
    assert peak is not None
    roof = peak * document["flops_shares"]["bf16_flops_per_s"]
    points = [*document.pop("measured"), *document.pop("published")]
    for point in points:
        if "flops" in point:
            point["ideal_s"] = point.pop("flops") / roof
    others = json.loads(_SUSTAINED.read_text(encoding="utf-8"))
    return Reference(points=tuple(points), **document, **others)


def speed_of(gpu: Gpu) -> Speed:
    """The Speed of any GPU. Raises PlanRefused where no memory bandwidth is known."""
    return speed.speed_of(gpu, reference())
