"""Beams over one prompt with copy-on-write: blocks in use against a copy for every beam."""

import random
from dataclasses import dataclass

from planner.units import ceil_div


@dataclass(frozen=True, slots=True)
class BeamBlocks:
    """Blocks at the end and their mean over the steps, shared and as if every beam had its own.

    copies: blocks copied because a beam wrote into one that another still names.
    """

    at_end: int
    mean: float
    copied_at_end: int
    copied_mean: float
    copies: int

    @property
    def saving(self) -> float:
        """Share of the mean blocks that sharing saves."""
        return 1 - self.mean / self.copied_mean


def beam_search(
    prompt_tokens: int, output_tokens: int, width: int, block_size: int, *, seed: int = 0,
    descend: float = 1.0,
) -> BeamBlocks:  # fmt: skip
    """Run `width` hypotheses for `output_tokens` steps.

    descend: the chance that a step's hypothesis comes from a parent drawn at random rather than its
    own; 0 is parallel sampling, where no two ever meet again. Tables name blocks, a block's owners
    are the tables that name it.
    """
    rng = random.Random(seed)
    fresh = ceil_div(prompt_tokens, block_size)
    tables = [list(range(fresh)) for _ in range(width)]
    owners = dict.fromkeys(range(fresh), width)
    copies = total = whole = 0
    for length in range(prompt_tokens, prompt_tokens + output_tokens):
        parents = [rng.randrange(width) if rng.random() < descend else i for i in range(width)]
        if parents != list(range(width)):
            new = [list(tables[parent]) for parent in parents]
            for block in (block for table in new for block in table):
                owners[block] += 1
            for block in (block for table in tables for block in table):
                owners[block] -= 1
                if not owners[block]:
                    del owners[block]
            tables = new
        for table in tables:
            if length % block_size == 0:
                table.append(fresh)
            elif owners[table[-1]] > 1:
                owners[table[-1]] -= 1
                table[-1] = fresh
                copies += 1
            else:
                continue
            owners[fresh] = 1
            fresh += 1
        total += len(owners)
        whole += width * ceil_div(length + 1, block_size)
    return BeamBlocks(
        len(owners),
        total / output_tokens,
        width * ceil_div(prompt_tokens + output_tokens, block_size),
        whole / output_tokens,
        copies,
    )
