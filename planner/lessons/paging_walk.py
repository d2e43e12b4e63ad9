"""A paged cache living through five sequences: who owns which block after each event.

    for scene in story(BlockAllocator(12), block_size=4):
        print(scene.what, scene.tables, scene.owners)

The allocator is passed in (`kernels.block_allocator.BlockAllocator`, the one that the paged kernels
run on), since nothing in `planner` may need more than numbers.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from planner.units import ceil_div, round_up


class Allocator(Protocol):
    """What the walk asks of a block allocator."""

    num_blocks: int

    def allocate(self, count: int) -> list[int]: ...
    def share(self, blocks: Sequence[int]) -> None: ...
    def release(self, blocks: Sequence[int]) -> None: ...
    def remember(self, block: int, content: Hashable) -> None: ...
    def find(self, content: Hashable) -> int | None: ...
    def owners(self, block: int) -> int: ...


@dataclass(frozen=True, slots=True)
class Scene:
    """The cache after one event. tables: blocks of each sequence; tokens: its length."""

    what: str
    why: str
    tables: dict[str, tuple[int, ...]]
    tokens: dict[str, int]
    owners: tuple[int, ...]
    kept: tuple[int, ...]
    """Blocks that nobody owns and whose content can still be found."""

    @property
    def used(self) -> int:
        return sum(1 for owners in self.owners if owners)

    @property
    def references(self) -> int:
        """Entries of all tables: blocks in use if nothing were shared."""
        return sum(len(table) for table in self.tables.values())


class _Cache:
    def __init__(self, allocator: Allocator, block_size: int) -> None:
        self.allocator = allocator
        self.size = block_size
        self.tables: dict[str, list[int]] = {}
        self.tokens: dict[str, int] = {}
        self.remembered: list[Hashable] = []
        self.scenes: list[Scene] = []

    def append(self, name: str, count: int) -> tuple[list[int], int | None]:
        """Room for tokens; a shared last block is copied first. New blocks, and what was copied."""
        table, filled = self.tables[name], self.tokens[name] % self.size
        needed = ceil_div(self.tokens[name] + count, self.size) - len(table)
        copied = None
        if filled and self.allocator.owners(table[-1]) > 1:
            copied = table[-1]
            table[-1] = self.allocator.allocate(1)[0]
            self.allocator.release([copied])
        fresh = self.allocator.allocate(needed)
        table += fresh
        self.tokens[name] += count
        return fresh, copied

    def add(self, name: str, prompt: str, tokens: int) -> int:
        """A new sequence; whole blocks of a known prompt are shared. Returns how many."""
        self.tables[name], self.tokens[name] = [], 0
        found = []
        for index in range(max(0, (tokens - 1) // self.size)):
            block = self.allocator.find((prompt, index))
            if block is None:
                break
            found.append(block)
        self.allocator.share(found)
        self.tables[name] += found
        self.tokens[name] = len(found) * self.size
        self.append(name, tokens - self.tokens[name])
        for index in range(tokens // self.size):
            self.allocator.remember(self.tables[name][index], (prompt, index))
            self.remembered.append((prompt, index))
        return len(found)

    def fork(self, name: str, child: str) -> None:
        self.allocator.share(self.tables[name])
        self.tables[child], self.tokens[child] = list(self.tables[name]), self.tokens[name]

    def free(self, name: str) -> None:
        self.allocator.release(self.tables.pop(name))
        del self.tokens[name]

    def scene(self, what: str, why: str) -> None:
        owners = tuple(self.allocator.owners(b) for b in range(self.allocator.num_blocks))
        known = {self.allocator.find(content) for content in self.remembered}
        kept = tuple(b for b, n in enumerate(owners) if n == 0 and b in known)
        tables = {name: tuple(table) for name, table in self.tables.items()}
        self.scenes.append(Scene(what, why, tables, dict(self.tokens), owners, kept))


def story(allocator: Allocator, block_size: int) -> list[Scene]:
    """A prompt, the same prompt again, a fork, a copy on write, an end, and reuse.

    The prompt is two blocks and a half long; `allocator` needs 12 blocks, all empty.
    """
    cache = _Cache(allocator, block_size)
    prompt, half = 2 * block_size + block_size // 2, block_size - block_size // 2
    cache.add("A", "hello", prompt)
    cache.scene(
        f"A arrives: {prompt} tokens",
        f"{prompt} / {block_size} rounds up to {len(cache.tables['A'])} blocks; the last is not "
        "full.",
    )
    shared = cache.add("B", "hello", prompt)
    cache.scene(
        "B arrives with the same prompt",
        f"{shared} full blocks are found by their content and shared. The part block is B's own.",
    )
    cache.fork("A", "A2")
    cache.scene(
        "A splits in two samples, A and A2",
        "A2 copies A's block table and nothing else: every block of A has one more owner.",
    )
    _, copied = cache.append("A2", 1)
    cache.scene(
        "A2 writes one token",
        f"Its last block, {copied}, also belongs to A, so it is copied first (copy-on-write).",
    )
    fresh, _ = cache.append("A", half + 1)
    cache.scene(
        f"A writes {half + 1} tokens",
        f"Its last block is its own again and fills up; then block {fresh[0]} is added.",
    )
    cache.free("B")
    cache.scene(
        "B ends",
        "Its own block is free. The shared ones stay, since A and A2 still own them.",
    )
    cache.free("A")
    cache.free("A2")
    cache.scene(
        "A and A2 end",
        "Nobody owns a block now, but the prompt's full blocks are kept until space is needed.",
    )
    again = cache.add("C", "hello", prompt)
    cache.scene(
        "C arrives with the same prompt",
        f"{again} kept blocks come back into use: their tokens need not be computed again.",
    )
    return cache.scenes


@dataclass(frozen=True, slots=True)
class Fragmentation:
    """Token places held for sequences of `lengths`, by the two ways to reserve them."""

    lengths: tuple[int, ...]
    contiguous: int
    paged: int

    @property
    def used(self) -> int:
        return sum(self.lengths)

    @property
    def contiguous_waste(self) -> float:
        return 1 - self.used / self.contiguous

    @property
    def paged_waste(self) -> float:
        return 1 - self.used / self.paged


def fragmentation(
    allocator: Allocator, lengths: Sequence[int], *, longest: int, block_size: int
) -> Fragmentation:
    """Whole-length reservations against the blocks that `allocator` really hands out."""
    taken = sum(len(allocator.allocate(ceil_div(n, block_size))) for n in lengths)
    return Fragmentation(tuple(lengths), len(lengths) * longest, taken * block_size)


def sample_lengths(sequences: int, longest: int, seed: int = 1) -> list[int]:
    """Lengths of chat-like answers: most are short, few come near `longest`. Always the same."""
    dice = Random(seed)
    return [min(longest, max(1, round(dice.expovariate(4 / longest)))) for _ in range(sequences)]


def blocks_for(lengths: Sequence[int], block_size: int) -> int:
    """Blocks that hold these sequences."""
    return sum(round_up(n, block_size) for n in lengths) // block_size
