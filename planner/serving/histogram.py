"""Percentiles in fixed memory: a histogram whose bins are a constant ratio apart."""

from math import exp, log

RATIO = 1.004
LEAST = 1e-6
_STEP = log(RATIO)


class Histogram:
    """Counts of positive values; quantiles are right to within half of RATIO - 1."""

    __slots__ = ("_bins", "count", "largest", "least", "total")

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.least = float("inf")
        self.largest = 0.0

    def add(self, value: float) -> None:
        bin_number = int(log(value / LEAST) / _STEP) if value > LEAST else -1
        self._bins[bin_number] = self._bins.get(bin_number, 0) + 1
        self.count += 1
        self.total += value
        if value > self.largest:
            self.largest = value
        if value < self.least:
            self.least = value

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float) -> float:
        """The value that this share of all does not exceed; 0 without values."""
        if not self.count:
            return 0.0
        rank = share * self.count
        seen = 0
        for bin_number in sorted(self._bins):
            seen += self._bins[bin_number]
            if seen >= rank:
                middle = LEAST * exp((bin_number + 0.5) * _STEP) if bin_number >= 0 else 0.0
                return min(max(middle, self.least), self.largest)
        return self.largest
