"""Whether drafting tokens pays at this load, and how many."""

from planner.guide.case import WORTH, Case, Decision, worth
from planner.model import Model
from planner.timing.drafting import best_speculation, eagle_like
from planner.timing.latency import Latency
from planner.timing.speculation import Speculation
from planner.units import counted, format_share

MOST = 6
"""Draft tokens tried: heads are trained for no more."""


def drafting(case: Case, acceptance: float) -> Decision:
    """The best number of draft tokens, taken if it gains a tenth."""
    found = speculation(case.now, case.model, acceptance)
    pays = found.speedup > WORTH
    if not found.draft_tokens:
        chance = format_share(acceptance)
        why = f"at an acceptance of {chance} no number of draft tokens gains anything"
        return Decision("speculation", "off", why, 1.0)
    return Decision(
        "speculation",
        counted(found.draft_tokens, "draft token") if pays else "off",
        f"at an acceptance of {format_share(acceptance)} and with "
        f"{counted(found.draft_tokens, 'draft token')} a step of "
        f"{counted(case.now.users_per_replica, 'user')} "
        f"yields {found.tokens_per_step:.2f} tokens each in {1e3 * found.step_s:.1f} ms "
        f"instead of one in {1e3 * case.now.tpot.seconds:.1f} ms{worth(found.speedup)}",
        found.speedup,
    )


def speculation(now: Latency, model: Model, acceptance: float) -> Speculation:
    """The best number of draft tokens for `now`, drafted by an EAGLE-like layer."""
    return best_speculation(now, model, eagle_like(model), acceptance, MOST)
