"""A calibration from a log: the card's memory as printed, and each component's difference.

Components that one start measured move further plans of the same engine on the same card; they
are kept as differences, so that a plan with other lengths or users still follows its laws.
"""

from dataclasses import dataclass
from datetime import date

from planner.engines.engine import EngineFigures
from planner.engines.logs.compare import compare
from planner.engines.logs.reading import LogReading
from planner.engines.registry import ENGINES
from planner.errors import PlanRefused

SPENT = ("weights", "consumed", "activation", "non_torch", "states", "cuda_graphs")


@dataclass(frozen=True, slots=True)
class EngineCalibration:
    """Bytes to add to each predicted component, for one engine, and where they come from."""

    engine: str
    label: str
    differences: tuple[tuple[str, int], ...]

    @property
    def total_bytes(self) -> int:
        return sum(size for _, size in self.differences)

    def kv_cache_bytes(self, figures: EngineFigures) -> int:
        """The cache of another plan, moved by what this log measured; never below 0."""
        if figures.name != self.engine:
            ours, theirs = ENGINES[self.engine].label, ENGINES[figures.name].label
            raise PlanRefused(f"this calibration is of {ours}, the plan of {theirs}")
        return max(0, figures.kv_cache.bytes - self.total_bytes)


def calibrate(reading: LogReading, figures: EngineFigures, on: date) -> EngineCalibration:
    """What the log measured beyond the prediction.

    Where parts and cache are both printed, what the parts leave unexplained is "other". Raises
    PlanRefused for a log that has no size of its own.
    """
    rows = {row.name: row for row in compare(reading, figures)}
    inside = set(figures.components) | {"consumed"}
    if "consumed" in rows:
        inside -= {"weights", "non_torch"}
    parts = [(n, round(rows[n].difference)) for n in SPENT if n in rows and n in inside]
    if "kv_cache" in rows:
        short = -round(rows["kv_cache"].difference)
        if "requested" in rows:
            short += round(rows["requested"].difference)
        rest = short - sum(size for _, size in parts)
        if parts and rest:
            parts.append(("other", rest))
        elif not parts:
            parts = [("cache", short)]
    if not parts:
        raise PlanRefused("this log prints no size that the plan could be calibrated by")
    label = f"calibrated by a start-up log of {ENGINES[figures.name].label}, {on.isoformat()}"
    return EngineCalibration(figures.name, label, tuple(parts))
