"""What is served: how many sequences at once, how long, and what they share."""

from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator

from planner.errors import PlanRefused
from planner.frozen import Frozen
from planner.units import ceil_div

MAX_TOKENS = 2**27
MAX_SEQUENCES = 2**20


class Workload(Frozen):
    """`concurrency` sequences of `context` tokens each, prompt and answer together.

    shared_prefix_tokens are the same in every sequence and cached once per replica. beam_width
    hypotheses of a sequence share its first prompt_tokens tokens.
    """

    context: int = Field(default=8192, ge=1, le=MAX_TOKENS)
    concurrency: int = Field(default=1, ge=1, le=MAX_SEQUENCES)
    shared_prefix_tokens: int = Field(default=0, ge=0, le=MAX_TOKENS)
    beam_width: int = Field(default=1, ge=1, le=1024)
    prompt_tokens: int | None = Field(default=None, ge=0, le=MAX_TOKENS)

    @model_validator(mode="after")
    def parts_fit_in_context(self) -> Self:
        for name in ("shared_prefix_tokens", "prompt_tokens"):
            tokens = getattr(self, name)
            if tokens is not None and tokens > self.context:
                raise PlanRefused(f"{name} {tokens:,} is longer than the context {self.context:,}")
        return self

    @property
    def least_context(self) -> int:
        """The shortest context that still serves it: what is known of a prompt stays whole."""
        return least_tokens(self.context, max(self.shared_prefix_tokens, self.prompt_tokens or 0))


def least_tokens(tokens: int, fixed: int = 0) -> int:
    """The shortest sequence that does for one of `tokens`, of which `fixed` cannot be cut.

    Half of the rest: a length is chosen with room to spare, but less than half is another job, and
    so no remedy.
    """
    return fixed + ceil_div(tokens - fixed, 2)


@dataclass(frozen=True, slots=True)
class Size:
    """A Workload's numbers without its checks, for the many tries of a search."""

    context: int
    concurrency: int
    shared_prefix_tokens: int
    beam_width: int
    prompt_tokens: int


def resized(workload: Workload, context: int, concurrency: int) -> Size:
    """`workload` at another size; a prefix or prompt longer than the context is cut to it."""
    return Size(
        context,
        concurrency,
        min(workload.shared_prefix_tokens, context),
        workload.beam_width,
        min(workload.prompt_tokens or 0, context),
    )
