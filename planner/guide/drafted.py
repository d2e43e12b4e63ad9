"""A drafter at a load: TPOT with and without it, its gain by number of users, where it loses.

found = drafted(now, model, drafter, draft_tokens=3, acceptance=None, most=64)
found.at_once.speedup, found.loses_from, found.sentences
"""

from dataclasses import dataclass

from planner.model import Model
from planner.timing.drafting import Drafter, counts, gains, loses_from, speculated
from planner.timing.latency import Latency
from planner.timing.speculation import ACCEPTANCE, ACCEPTANCE_RANGE, ASSUMED, Speculation
from planner.units import counted

UNLIMITED = 1024
"""Users up to whom a gain is followed where memory sets no limit."""


@dataclass(frozen=True, slots=True)
class Drafted:
    """at_once: for the users of `now`; low, high: the same at the ends of ACCEPTANCE_RANGE where
    the acceptance is assumed. by_users: up to `most`, of whom `held` says why.
    """

    now: Latency
    drafter: Drafter
    acceptance: float
    assumed: bool
    at_once: Speculation
    low: Speculation
    high: Speculation
    by_users: dict[int, Speculation]
    most: int
    held: str
    loses_from: int | None

    @property
    def range_s(self) -> tuple[float, float]:
        """TPOT: the times' own range, at the ends of the acceptance's."""
        alone = self.now.tpot
        low, high = (self.high.tpot_s * alone.low_s, self.low.tpot_s * alone.high_s)
        return low / alone.seconds, high / alone.seconds

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it gives, what a step goes into, and with how many users it stops to pay."""
        found, alone = self.at_once, self.now.tpot.seconds
        low, high = self.range_s
        ends = ""
        if self.assumed:
            ends = " ({:.2f} to {:.2f} at {:g} to {:g})".format(
                self.low.speedup, self.high.speedup, *ACCEPTANCE_RANGE
            )
        said = (
            f"{counted(found.draft_tokens, 'token')} a step by {self.drafter.label}, acceptance "
            f"{self.acceptance:g}: TPOT {1e3 * found.tpot_s:,.2f} ms ({1e3 * low:,.2f} to "
            f"{1e3 * high:,.2f}) instead of {1e3 * alone:,.2f} ms, {found.speedup:.2f} times as "
            f"fast{ends}.",
            f"A step takes {1e3 * (found.step_s - found.draft_s):,.2f} ms to check "
            f"{counted(found.draft_tokens + 1, 'token')} and {1e3 * found.draft_s:,.2f} ms to "
            f"draft, and yields {found.tokens_per_step:.2f} tokens.",
            self.limit,
        )
        return (*said, f"The {ASSUMED}.") if self.assumed else said

    @property
    def limit(self) -> str:
        """Where it turns into a loss."""
        held = self.held
        if self.loses_from is None:
            last = self.by_users[self.most].speedup
            return f"It gains up to {held} ({last:.2f} times there)."
        if self.loses_from == 1:
            return "It loses with any number of users, one included."
        return f"It loses from {counted(self.loses_from, 'user')} on, of {held}."


def followed(most: int | None) -> tuple[int, str]:
    """Up to how many users a gain is followed, and those in words; most: what memory holds, None
    where it sets no limit."""
    if most is None:
        return UNLIMITED, f"{counted(UNLIMITED, 'user')}, to whom memory sets no limit"
    if not most:
        return 1, "one user, as if memory held it"
    return most, f"the {counted(most, 'user')} that memory holds"


def drafted(
    now: Latency,
    model: Model,
    drafter: Drafter,
    draft_tokens: int,
    acceptance: float | None,
    most: int | None,
) -> Drafted:
    """The drafter for the users of `now`, and for 1 to `most` of them, as many as memory holds.

    acceptance: of each draft token, None where nothing is known. Raises PlanRefused for one that
    is no probability.
    """
    given = ACCEPTANCE if acceptance is None else acceptance
    ends = ACCEPTANCE_RANGE if acceptance is None else (given, given)
    at, low, high = (
        speculated(now, model, drafter, draft_tokens, a) for a in (given, *ends)
    )  # fmt: skip
    users, held = followed(most)
    return Drafted(
        now, drafter, given, acceptance is None, at, low, high,
        gains(now, model, drafter, draft_tokens, given, counts(users)), users, held,
        loses_from(now, model, drafter, draft_tokens, given, users),
    )  # fmt: skip
