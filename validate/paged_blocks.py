"""The block allocator of the paged kernels for pages that only look at it. Loads no torch."""

from kernels.block_allocator import BlockAllocator


def empty_blocks(count: int) -> BlockAllocator:
    """An allocator of `count` blocks, all free."""
    return BlockAllocator(count)
