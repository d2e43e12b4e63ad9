"""Replicas and traffics that the tests share: a clock of plain arithmetic, a sink that listens."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from planner.serving.clock import Chunk
from planner.serving.replica import Replica
from planner.serving.requests import Request, Sampler
from planner.serving.scheduler import Engine


@dataclass
class Plain:
    """Seconds of a step: a constant, and more for each prompt token, answer and context token."""

    step_s: float = 1.0
    prompt_s: float = 0.0
    row_s: float = 0.0
    context_s: float = 0.0

    def decode_s(self, sequences: int, context: float) -> float:
        return self.step_s + sequences * (self.row_s + self.context_s * context)

    def mixed_s(self, sequences: int, context: float, chunks: Sequence[Chunk]) -> float:
        found = self.step_s + self.prompt_s * sum(tokens for tokens, _ in chunks)
        return found + sequences * (self.row_s + self.context_s * context)


class OneByOne(Engine):
    """Every step by itself: what runs of steps must be equal to."""

    def _run(self, rows: int, context: float, until: float) -> tuple[int, float]:
        steps, _ = super()._run(rows, context, self.now)
        assert steps == 1
        return 1, self.replica.clock.decode_s(rows, context)


def replica(**changes: object) -> Replica:
    base = Replica(
        num_blocks=200, block_size=16, block_bytes=1, clock=Plain(0.01, 1e-5, 1e-4, 1e-7),
        max_num_seqs=16, max_num_batched_tokens=512, max_model_len=2048,
    )  # fmt: skip
    return base.changed(**changes)


def traffic(count: int, seed: int, rate: float = 5.0, shared: int = 0) -> list[Request]:
    rng = random.Random(seed)
    now, found = 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate)
        prompt = rng.randint(1, 900)
        found.append(
            Request(now, prompt, rng.randint(1, 200), shared_tokens=min(shared, prompt - 1))
        )
    return found


def geometric(mean: float) -> Sampler:
    """Lengths of at least 1 whose end is about as likely after every token."""
    return lambda rng: 1 + int(rng.expovariate(1.0) * (mean - 0.5))
