"""How PyTorch's caching allocator rounds: what tensors really take of a GPU, predicted.

    allocator = Allocator()
    allocator.allocate(3 * MIB)
    allocator.allocated_bytes, allocator.reserved_bytes   # 3 MiB, 20 MiB

Rules (c10/cuda/CUDACachingAllocator, torch 2.x, default settings): sizes are rounded up to 512 B.
Up to 1 MiB comes from segments of 2 MiB, less than 10 MiB from segments of 20 MiB, more from a
segment of its own in multiples of 2 MiB. The smallest free block that fits is used; what is left
of it becomes a free block if it has at least 512 B (small) or more than 1 MiB (large).
"""

from dataclasses import dataclass

from planner.engines.loaded_weights import (
    MIN_BLOCK_BYTES,
    MIN_OWN_SEGMENT_BYTES,
    SEGMENT_ROUNDING_BYTES,
    SMALL_BYTES,
)
from planner.units import MIB, round_up

SMALL_SEGMENT_BYTES = 2 * MIB
LARGE_SEGMENT_BYTES = 20 * MIB


def block_bytes(size: int) -> int:
    """A request rounded to whole blocks of 512 B."""
    return max(MIN_BLOCK_BYTES, round_up(size, MIN_BLOCK_BYTES))


def segment_bytes(size: int) -> int:
    """What is asked of the driver for a request when no free block serves it."""
    if size <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < MIN_OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return round_up(size, SEGMENT_ROUNDING_BYTES)


@dataclass(eq=False)
class Block:
    """A piece of a segment, in use or free, between its neighbours."""

    segment: int
    offset: int
    size: int
    free: bool = True


class Allocator:
    """Segments and blocks without a GPU; sizes in bytes."""

    def __init__(self) -> None:
        self._segments: list[list[Block]] = []
        self.allocated_bytes = 0
        self.reserved_bytes = 0
        self.peak_allocated_bytes = 0
        self.peak_reserved_bytes = 0

    def allocate(self, size: int) -> Block | None:
        """A block for `size` bytes; None for an empty tensor, which takes nothing."""
        if size == 0:
            return None
        wanted = block_bytes(size)
        small = wanted <= SMALL_BYTES
        block = self._best_fit(wanted, small) or self._new_segment(wanted)
        left = block.size - wanted
        if left >= MIN_BLOCK_BYTES if small else left > SMALL_BYTES:
            blocks = self._segments[block.segment]
            blocks.insert(
                blocks.index(block) + 1, Block(block.segment, block.offset + wanted, left)
            )
            block.size = wanted
        block.free = False
        self.allocated_bytes += block.size
        self.peak_allocated_bytes = max(self.peak_allocated_bytes, self.allocated_bytes)
        return block

    def release(self, block: Block | None) -> None:
        """Give a block back; it merges with free neighbours and stays reserved."""
        if block is None:
            return
        self.allocated_bytes -= block.size
        block.free = True
        blocks = self._segments[block.segment]
        at = blocks.index(block)
        for neighbour in (at + 1, at - 1):
            if 0 <= neighbour < len(blocks) and blocks[neighbour].free:
                first, second = sorted((blocks[at], blocks[neighbour]), key=lambda b: b.offset)
                first.size += second.size
                blocks.remove(second)
                at = blocks.index(first)

    def empty_cache(self) -> None:
        """Segments that are wholly free go back to the driver."""
        for blocks in self._segments:
            if len(blocks) == 1 and blocks[0].free:
                self.reserved_bytes -= blocks[0].size
                blocks.clear()

    def _best_fit(self, wanted: int, small: bool) -> Block | None:
        fitting = [
            block
            for blocks in self._segments
            for block in blocks
            if block.free and block.size >= wanted and self._is_small(blocks) == small
        ]
        return min(fitting, key=lambda b: (b.size, b.segment, b.offset), default=None)

    @staticmethod
    def _is_small(blocks: list[Block]) -> bool:
        return sum(block.size for block in blocks) == SMALL_SEGMENT_BYTES

    def _new_segment(self, wanted: int) -> Block:
        size = segment_bytes(wanted)
        block = Block(len(self._segments), 0, size)
        self._segments.append([block])
        self.reserved_bytes += size
        self.peak_reserved_bytes = max(self.peak_reserved_bytes, self.reserved_bytes)
        return block


def allocated_bytes(*sizes: int) -> int:
    """What live tensors of these sizes count as allocated, taken in this order from nothing."""
    allocator = Allocator()
    for size in sizes:
        allocator.allocate(size)
    return allocator.allocated_bytes
