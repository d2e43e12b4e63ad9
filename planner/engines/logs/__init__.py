"""Start-up logs read back: what an engine printed, laid beside what was predicted.

reading = read_log(text)
rows = compare(reading, figures)
"""

from planner.engines.logs.compare import Row, compare, explanation, largest
from planner.engines.logs.reading import LogReading, read_log

__all__ = ["LogReading", "Row", "compare", "explanation", "largest", "read_log"]
