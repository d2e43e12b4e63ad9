"""Lookahead decoding: a model drafts for itself in one wide pass (Fu et al. 2024).

    look = Lookahead(window=15, ngram=5, candidates=15)
    look.tokens                      # 120 in every pass
    needed(now, model, look, users)  # tokens that a pass must yield to gain anything

A pass guesses `window` places ahead by Jacobi iteration, keeps what the iterations before left, and
checks `candidates` n-grams collected from them. Nothing else is loaded or trained.
"""

from dataclasses import dataclass

from planner.errors import PlanRefused
from planner.model import Model
from planner.timing.breakdown import decode_time
from planner.timing.latency import Latency
from planner.timing.passes import decode_pass


@dataclass(frozen=True, slots=True)
class Lookahead:
    """W places, n-grams of N tokens, G candidates: the three settings of every implementation."""

    window: int
    ngram: int
    candidates: int

    def __post_init__(self) -> None:
        if self.window < 1 or self.ngram < 2 or self.candidates < 1:
            raise PlanRefused(
                "lookahead needs a window and candidates of 1 or more, and n-grams of 2 or more "
                "tokens"
            )

    @property
    def tokens(self) -> int:
        """Tokens of a sequence in one pass: N - 1 in each place and in each candidate."""
        return (self.window + self.candidates) * (self.ngram - 1)

    @property
    def most(self) -> int:
        """Tokens that a pass yields if a whole n-gram is accepted, with the one after it."""
        return self.ngram


def pass_s(now: Latency, model: Model, tokens: int, users: int) -> float:
    """A pass of so many tokens for each of the users."""
    sequences = -(-users // now.deployment.data_parallel_size)
    found = decode_pass(model, now.deployment, sequences, now.request.mean_context, tokens)
    return decode_time(found, now.gpu, now.deployment, now.speed).seconds


def needed(now: Latency, model: Model, look: Lookahead, users: int) -> float:
    """Tokens that a pass must yield on average to be as fast as decoding one by one."""
    return pass_s(now, model, look.tokens, users) / pass_s(now, model, 1, users)
