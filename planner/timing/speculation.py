"""Speculative decoding: what an acceptance rate is worth, and what it costs.

A draft proposes k tokens, the model checks them in one pass of k + 1 tokens a sequence and keeps
the agreeing prefix plus one token of its own (Leviathan et al. 2023).
"""

from collections.abc import Callable
from dataclasses import dataclass

from planner.errors import PlanRefused

ACCEPTANCE, ACCEPTANCE_RANGE = 0.7, (0.6, 0.8)
ASSUMED = (
    "acceptance is an assumption: published drafts have about 0.6 to 0.8 of their tokens accepted "
    "(Leviathan et al. 2023; Li et al. 2024), n-grams as many as the answer repeats of the prompt; "
    "measure your own"
)
"""Where none is given."""


@dataclass(frozen=True, slots=True)
class Speculation:
    """k draft tokens a step: what a step takes, and what a token takes on average.

    draft_s: the drafting in a step. speedup compares with decoding one token a step; below 1
    speculation loses.
    """

    draft_tokens: int
    tokens_per_step: float
    step_s: float
    tpot_s: float
    speedup: float
    draft_s: float = 0.0


def tokens_per_step(acceptance: float, draft_tokens: int) -> float:
    """Expected tokens of one step when each draft token is accepted with this probability.

    1 + a + a^2 + ... + a^k: a token counts only if all before it were accepted. Raises PlanRefused
    for an acceptance that is no probability.
    """
    if not 0 <= acceptance <= 1:
        raise PlanRefused(f"acceptance is a probability, 0 to 1, not {acceptance:g}")
    return sum(acceptance**i for i in range(draft_tokens + 1))


def speculate(
    step_s: Callable[[int], float],
    draft_s: Callable[[int], float],
    acceptance: float,
    draft_tokens: int,
) -> Speculation:
    """One choice of k. step_s(m) is a pass of m tokens a sequence, draft_s(k) drafting k."""
    tokens = tokens_per_step(acceptance, draft_tokens)
    drafting = draft_s(draft_tokens)
    total = step_s(draft_tokens + 1) + drafting
    return Speculation(
        draft_tokens, tokens, total, total / tokens, step_s(1) * tokens / total, drafting
    )


def best(
    step_s: Callable[[int], float],
    draft_s: Callable[[int], float],
    acceptance: float,
    most: int = 8,
) -> Speculation:
    """The k in 0..most of lowest time per token; k = 0 says not to speculate."""
    tried = (speculate(step_s, draft_s, acceptance, k) for k in range(most + 1))
    return min(tried, key=lambda found: found.tpot_s)
