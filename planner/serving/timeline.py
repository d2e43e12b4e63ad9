"""How a simulation went over time, in a fixed number of bins that widen as it goes on."""

BINS = 240
STATES = ("queue", "running", "used_blocks", "kept_blocks", "stored_tokens")
"""Averaged over time, summed over replicas."""
EVENTS = ("arrivals", "finished", "preemptions", "prompt_tokens", "found_tokens", "output_tokens")
"""Counted."""


class Timeline:
    """Integrals of states and counts of events per bin of `width_s` seconds."""

    __slots__ = ("events", "integrals", "width_s")

    def __init__(self, width_s: float = 0.05) -> None:
        self.width_s = width_s
        self.integrals = {name: [0.0] * BINS for name in STATES}
        self.events = {name: [0.0] * BINS for name in EVENTS}

    def spend(self, start: float, seconds: float, values: tuple[float, ...]) -> None:
        """`values` of STATES hold for `seconds` from `start`."""
        end = start + seconds
        while end >= BINS * self.width_s:
            self._widen()
        width = self.width_s
        first, last = int(start / width), int(end / width)
        rows = self.integrals.values()
        if first == last:
            for row, value in zip(rows, values, strict=True):
                row[first] += value * seconds
            return
        for i in range(first, last + 1):
            part = min(end, (i + 1) * width) - max(start, i * width)
            for row, value in zip(rows, values, strict=True):
                row[i] += value * part

    def note(self, name: str, at: float, amount: float = 1) -> None:
        """An event at a moment."""
        while at >= BINS * self.width_s:
            self._widen()
        self.events[name][int(at / self.width_s)] += amount

    def _widen(self) -> None:
        self.width_s *= 2
        for rows in (self.integrals, self.events):
            for name, row in rows.items():
                merged = [row[i] + row[i + 1] for i in range(0, BINS, 2)]
                rows[name] = merged + [0.0] * (BINS - len(merged))

    def rows(self, until: float) -> list[dict[str, float]]:
        """One row per bin up to `until`: its start, mean states, counts."""
        found = []
        for i in range(min(BINS, int(until / self.width_s) + 1)):
            row = {"start_s": i * self.width_s}
            length = min(self.width_s, until - row["start_s"])
            if length <= 0:
                break
            row |= {name: values[i] / length for name, values in self.integrals.items()}
            row |= {name: values[i] for name, values in self.events.items()}
            found.append(row)
        return found
