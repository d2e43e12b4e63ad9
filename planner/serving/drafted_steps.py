"""Steps of a replica that drafts: what they take, and the tokens that they yield.

    drafting = Drafting(drafter, draft_tokens=3, acceptance=0.7, lookahead=3)
    drafting.tokens_per_step, drafting.clock(target, draft)

A step checks 1 + draft_tokens tokens of every answer, after the drafter's passes. A drafter with a
cache of its own also reads every prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.engines.drafting_asked import drafting_asked
from planner.frozen import Frozen
from planner.model import Model
from planner.serving.clock import Chunk, Clock
from planner.timing.drafting import Drafter, drafter_for
from planner.timing.speculation import ACCEPTANCE, ASSUMED, tokens_per_step


@dataclass(frozen=True)
class Drafting:
    """acceptance: of each draft token, None where it is not known. lookahead: slots that the
    engine gives each request beyond its own."""

    drafter: Drafter
    draft_tokens: int
    acceptance: float | None
    lookahead: int

    @classmethod
    def asked(
        cls, options: Frozen, model: Model, draft: Model | None, acceptance: float | None
    ) -> "Drafting | None":
        """What an engine's options ask for, with the draft that it loads."""
        found = drafting_asked(options)
        if found is None:
            return None
        drafter = drafter_for(model, found.method, draft, found.draft_tokens)
        return cls(drafter, found.draft_tokens, acceptance, found.lookahead)

    @property
    def tokens_per_step(self) -> float:
        given = ACCEPTANCE if self.acceptance is None else self.acceptance
        return tokens_per_step(given, self.draft_tokens)

    @property
    def words(self) -> str:
        """How it drafts, for a report."""
        given = ACCEPTANCE if self.acceptance is None else self.acceptance
        said = (
            f"{self.draft_tokens:,} drafted a step by {self.drafter.label}, acceptance {given:g}: "
            f"{self.tokens_per_step:.2f} tokens a step"
        )
        return said if self.acceptance is not None else f"{said}; the {ASSUMED}"

    def clock(self, target: Clock, draft: Clock | None) -> Clock:
        """target: of steps that check drafts; draft: of the drafter's passes, if it has any."""
        passes = self.drafter.passes(self.draft_tokens)
        if draft is None or not passes:
            return target
        model = self.drafter.model
        reads = model is not None and any(group.mixers for group in model.groups)
        return DraftedSteps(target, draft, passes, reads)


@dataclass(frozen=True, slots=True)
class DraftedSteps:
    """The Clock of both together."""

    target: Clock
    draft: Clock
    passes: int
    reads_prompts: bool

    def decode_s(self, sequences: int, context: float) -> float:
        drafting = self.passes * self.draft.decode_s(sequences, context)
        return self.target.decode_s(sequences, context) + drafting

    def mixed_s(self, sequences: int, context: float, chunks: Sequence[Chunk]) -> float:
        found = self.target.mixed_s(sequences, context, chunks)
        passes = self.passes
        if self.reads_prompts:
            found += self.draft.mixed_s(sequences, context, chunks)
            passes -= 1
        answers = sequences + len(chunks)
        reach = sum(end for _, end in chunks)
        return found + passes * self.draft.decode_s(
            answers, (sequences * context + reach) / answers
        )
