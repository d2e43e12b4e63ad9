"""Which blocks of a paged cache are in use, by whom, and what they hold. No tensors.

A block is owned by every sequence whose table names it. A full block whose tokens are known has a
content key (its own tokens and the key of the block before it), so that a later sequence with the
same beginning can share it; such a block outlives its owners until its space is needed, oldest
first.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


class OutOfBlocksError(RuntimeError):
    """The cache has too few free blocks for the request; nothing was changed."""


@dataclass(frozen=True)
class BlockUsage:
    """Counts of blocks; `used + free == total`."""

    total: int
    used: int  # owned by at least one sequence
    free: int  # owned by none, including those kept for their content
    shared: int  # of the used, owned by more than one
    kept: int  # of the free, still holding a prefix that can be found again
    references: int  # entries in all block tables: what would be used without sharing


class BlockAllocator:
    """Hands out block numbers 0 to num_blocks - 1 and counts their owners."""

    def __init__(self, num_blocks: int) -> None:
        if num_blocks < 1:
            raise ValueError(f"num_blocks is {num_blocks}; a cache needs at least one block")
        self.num_blocks = num_blocks
        self._owners = [0] * num_blocks
        self._empty = list(range(num_blocks - 1, -1, -1))  # taken from the end: lowest first
        self._kept: OrderedDict[int, None] = OrderedDict()  # unowned with content, oldest first
        self._by_content: dict[Hashable, int] = {}
        self._content: dict[int, Hashable] = {}

    @property
    def free_blocks(self) -> int:
        return len(self._empty) + len(self._kept)

    def owners(self, block: int) -> int:
        return self._owners[block]

    def allocate(self, count: int) -> list[int]:
        """`count` blocks with one owner each; content kept in them is forgotten, oldest first."""
        if count > self.free_blocks:
            raise OutOfBlocksError(
                f"{count} more blocks are needed but {self.free_blocks} of {self.num_blocks} are "
                "free; free a sequence or make the cache larger"
            )
        taken = []
        for _ in range(count):
            if self._empty:
                block = self._empty.pop()
            else:
                block, _ = self._kept.popitem(last=False)
                del self._by_content[self._content.pop(block)]
            self._owners[block] = 1
            taken.append(block)
        return taken

    def share(self, blocks: Sequence[int]) -> None:
        """One more owner for each block; a kept block comes back into use."""
        for block in blocks:
            if self._owners[block] == 0:
                del self._kept[block]
            self._owners[block] += 1

    def release(self, blocks: Sequence[int]) -> None:
        """One owner fewer for each block. Later blocks of a prefix are given up first."""
        for block in reversed(blocks):
            if self._owners[block] < 1:
                raise ValueError(f"block {block} is not in use")
            self._owners[block] -= 1
            if self._owners[block] == 0:
                if block in self._content:
                    self._kept[block] = None
                else:
                    self._empty.append(block)

    def remember(self, block: int, content: Hashable) -> None:
        """Say what a full block holds. The first block with some content stays the known one."""
        if content not in self._by_content and block not in self._content:
            self._by_content[content] = block
            self._content[block] = content

    def find(self, content: Hashable) -> int | None:
        """The block, used or kept, that holds this content."""
        return self._by_content.get(content)

    def usage(self) -> BlockUsage:
        used = self.num_blocks - self.free_blocks
        return BlockUsage(
            total=self.num_blocks,
            used=used,
            free=self.free_blocks,
            shared=sum(owners > 1 for owners in self._owners),
            kept=len(self._kept),
            references=sum(self._owners),
        )
