"""A model's rotary frequencies before and after scaling: its own where it has one, else one chosen.

found = stretched(model, factor=4, method="yarn")
found.before.wavelengths, found.after.wavelengths
"""

from dataclasses import dataclass
from itertools import pairwise

from planner.model import Model
from planner.positions import reach
from planner.rope.extension import SCALED, Extension, extend
from planner.rope.frequencies import Frequencies, frequencies, kind_of, unscaled
from planner.rope.layers import rotary_layers


@dataclass(frozen=True, slots=True)
class Stretched:
    """extension: the one chosen; None where the configuration brings a scaling of its own.

    trained_tokens and reached_tokens: lengths before and after, None where nothing states them.
    """

    method: str
    width: int
    trained_tokens: int | None
    reached_tokens: int | None
    before: Frequencies
    after: Frequencies
    extension: Extension | None

    @property
    def slowed(self) -> tuple[float, ...]:
        """How many times slower each pair turns."""
        pairs = zip(self.before.radians, self.after.radians, strict=True)
        return tuple(old / new if new else 1.0 for old, new in pairs)

    @property
    def unseen(self) -> int:
        """Pairs that do not turn once within the trained length: beyond it their angles are new."""
        trained = self.trained_tokens
        return 0 if trained is None else sum(1 for w in self.before.wavelengths if w > trained)


def is_scaled(model: Model) -> bool:
    """Whether the configuration brings a scaling of its own."""
    return reach(model).method in SCALED


def stretched(model: Model, factor: int, method: str) -> Stretched:
    """Raises PlanRefused where neither the configuration nor `method` scales anything."""
    found = reach(model)
    if not is_scaled(model):
        extension = extend(model, factor * (found.supported_tokens or 1), method)
        return Stretched(
            method, extension.layers.width, extension.original_tokens, extension.context_tokens,
            extension.before, extension.after, extension,
        )  # fmt: skip
    whole = rotary_layers(model)[0]
    after = frequencies(
        whole.rope, whole.width, longest=model.max_position_embeddings,
        length=found.supported_tokens,
    )  # fmt: skip
    before = unscaled(whole.rope, whole.width)
    return Stretched(
        kind_of(whole.rope), whole.width, found.trained_tokens, found.supported_tokens, before,
        after, None,
    )  # fmt: skip


def rows_to_show(found: Stretched, most: int = 12) -> tuple[int, ...]:
    """Pairs for a table: the first, the last, and those around which slowing begins and ends."""
    slowed = found.slowed
    last = len(slowed) - 1
    kept = {0, last}
    turns = [i for i, (a, b) in enumerate(pairwise(slowed)) if abs(a - b) > 1e-9]
    if turns:
        kept |= {turns[0], turns[-1] + 1}
    step = max(1, last // (most - len(kept)))
    kept |= set(range(0, last, step))
    return tuple(sorted(kept))
