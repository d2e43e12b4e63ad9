"""What memory management wastes: whole-length reservations against blocks on demand.

Contiguous preallocation reserves the longest length for every sequence. Paging hands out blocks
of block_size tokens as they are needed, so at most the last block of a sequence is partly empty,
and sequences may point at the same blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.kv_cache import CacheTerm


@dataclass(frozen=True, slots=True)
class Waste:
    """Cache bytes of a set of sequences: written, in whole blocks, and reserved at full length."""

    used_bytes: int
    paged_bytes: int
    contiguous_bytes: int

    @property
    def rounding_bytes(self) -> int:
        """Empty ends of last blocks."""
        return self.paged_bytes - self.used_bytes

    @property
    def over_reserved_bytes(self) -> int:
        """What preallocation holds and these sequences never write."""
        return self.contiguous_bytes - self.used_bytes


def waste(
    terms: Sequence[CacheTerm],
    lengths: Sequence[int],
    *,
    max_model_len: int,
    block_size: int,
) -> Waste:
    """Waste for sequences of these lengths, each stored by itself."""
    return Waste(
        used_bytes=sum(term.bytes(n) for term in terms for n in lengths),
        paged_bytes=sum(term.paged_bytes(n, block_size) for term in terms for n in lengths),
        contiguous_bytes=len(lengths) * sum(term.bytes(max_model_len) for term in terms),
    )


def prefix_saving_bytes(
    terms: Sequence[CacheTerm], lengths: Sequence[int], prefix: int, *, block_size: int
) -> int:
    """Bytes saved when all sequences but one point at the first one's full prefix blocks."""
    whole_blocks = prefix // block_size * block_size
    return sum(term.shared_bytes(n, whole_blocks) for term in terms for n in lengths[1:])


def beam_saving_bytes(
    terms: Sequence[CacheTerm], tokens: int, prompt: int, beam_width: int, *, block_size: int
) -> int:
    """Bytes saved per sequence when its beams share the prompt's full blocks.

    The block in which the prompt ends is copied by every beam that writes to it (copy-on-write),
    so it is not shared.
    """
    whole_blocks = prompt // block_size * block_size
    return (beam_width - 1) * sum(term.shared_bytes(tokens, whole_blocks) for term in terms)
