"""Blocks that running answers need over the next steps, counted by where in a block they are.

All answers grow by one token a step, so one counter of steps moves them all, and a request's place
in its last block is told by the remainder it joined with.
"""

from planner.serving.job import Job


class Growth:
    """Answers being decoded: how many, their tokens, and when each needs its next block."""

    __slots__ = ("_block_size", "_lookahead", "_phases", "count", "steps", "tokens")

    def __init__(self, block_size: int, lookahead: int) -> None:
        self._block_size = block_size
        self._lookahead = lookahead
        self._phases: dict[int, int] = {}
        self.count = 0
        self.steps = 0
        self.tokens = 0

    def add(self, job: Job) -> None:
        """A request whose first `computed` tokens are stored starts to answer."""
        job.joined_at = self.steps
        self.count += 1
        self.tokens += job.computed
        phase = self._phase(job)
        self._phases[phase] = self._phases.get(phase, 0) + 1

    def remove(self, job: Job) -> int:
        """It stops; returns its stored tokens."""
        stored = job.computed + self.steps - job.joined_at
        self.count -= 1
        self.tokens -= stored
        phase = self._phase(job)
        left = self._phases[phase] - 1
        if left:
            self._phases[phase] = left
        else:
            del self._phases[phase]
        return stored

    def advance(self, steps: int) -> None:
        self.steps += steps
        self.tokens += steps * self.count

    def _phase(self, job: Job) -> int:
        """The step, modulo a block, in which it starts a new one."""
        return (job.joined_at - job.computed - self._lookahead) % self._block_size

    def blocks(self, steps: int) -> int:
        """New blocks that all answers together take in the next `steps` steps."""
        size = self._block_size
        whole, rest = divmod(steps, size)
        found = whole * self.count
        if rest:
            phases, now = self._phases, self.steps
            if rest == 1:
                found += phases.get(now % size, 0)
            elif rest < len(phases):
                found += sum(phases.get((now + i) % size, 0) for i in range(rest))
            else:
                found += sum(n for phase, n in phases.items() if (phase - now) % size < rest)
        return found

    def most_steps(self, free: int, steps: int) -> int:
        """Steps, `steps` at most, that so many free blocks are enough for."""
        if (steps // self._block_size + 1) * self.count <= free or self.blocks(steps) <= free:
            return steps
        low, high = 0, steps
        while high - low > 1:
            middle = (low + high) // 2
            if self.blocks(middle) <= free:
                low = middle
            else:
                high = middle
        return low
